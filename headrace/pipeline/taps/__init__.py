"""Looking at batches on their way: edges, filters, and the forms in which batches leave the daemon."""

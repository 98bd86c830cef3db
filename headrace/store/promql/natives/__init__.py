"""Native histograms in PromQL."""

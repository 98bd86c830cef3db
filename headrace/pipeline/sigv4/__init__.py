"""AWS Signature Version 4: the canonical form of a request, signing it, and checking a signature."""

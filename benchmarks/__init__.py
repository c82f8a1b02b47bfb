"""`make bench`: what a night costs in time and memory, beside the loop that people write by hand."""

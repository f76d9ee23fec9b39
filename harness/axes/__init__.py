"""One file a question: per-sample records in, rows out."""

"""What the registry answers: one file for each question, on one projection."""

"""What the dependencies service answers: one file for each question, on one projection."""

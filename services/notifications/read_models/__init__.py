"""What the notifications service answers: one file for each question, on one projection."""

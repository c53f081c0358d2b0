"""The published language: envelope, event models, topics; all that services know of each other."""

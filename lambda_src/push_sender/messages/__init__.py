"""The messages of SendMessages, written from a request, and their sizes."""

"""The inbox: a page that shows each push as a phone would, and its JSON."""

"""The inbox: the page that shows each push as a phone would, and its JSON."""

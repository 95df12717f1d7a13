"""What an answer means for each address, and the codes that say it."""

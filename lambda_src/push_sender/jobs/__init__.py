"""Jobs: the rows of a file as recipients or as registrations of devices."""

"""One file that holds a whole till, written beside a running service, and put back into an empty place.

`layout` knows the tables of each schema, `file_format` how they stand in the file, `save` writes it, `backup_file`
reads and verifies it, `place` is where it goes, `restore` puts it there, and `step_ahead` sees to what must not
be given a second time.
"""

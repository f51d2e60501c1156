"""One module per filter, each offering it as ``FILTER``. Adding a filter is adding a file."""

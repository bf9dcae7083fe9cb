"""Where studies are kept: in memory, or in an SQLite file that many processes of one host share."""

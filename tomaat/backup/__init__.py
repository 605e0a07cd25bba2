"""Backup and restore: the database and the tickets' files of one instance, together in one folder.

::

    <place>/<when>/manifest.json       lists the contents; written last
    <place>/<when>/database.dump       the database, in PostgreSQL's custom format
    <place>/<when>/tickets/<random>/   as below BASE_STORAGE_DIR: in/, and the finished results in out/<claim>-<random>/

The database comes first: the files that its rows name are in place by then and are never written again. So they may be
copied, or linked, while the doors run. A file that vanishes meanwhile was deleted by right.
"""

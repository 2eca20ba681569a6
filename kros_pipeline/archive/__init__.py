"""The archive: everything below `KROS_ARCHIVE_URL` in S3, behind a Protocol."""

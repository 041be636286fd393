"""Pictures, pages, tables and files of records. `drawings` finds what draws a record, when it is first shown."""

"""Write what is derived from the tables' schemas: SQL, dbt sources and the dictionary of columns."""

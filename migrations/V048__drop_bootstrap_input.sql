-- The JSON columns and the input table: from here on templates are the only source of grants.
CALL bootstrap_drop_input();

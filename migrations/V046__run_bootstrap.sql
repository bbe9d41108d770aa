-- Reads what was loaded, and stops on the first row that is wrong, with nothing changed. Once it is mended, this file runs again.
CALL bootstrap_run();

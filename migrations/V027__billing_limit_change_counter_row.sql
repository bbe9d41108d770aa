INSERT INTO billing_limit_change_counter (id, last_sequence_no) VALUES (1, 0);

-- refused: 1:37 «shed_rows()» shed_rows() tells how many rows a window lacks, and belongs beside hop, tumble or session; name it in the view that has the window
INSERT INTO sink SELECT 'all' AS k, shed_rows() AS c FROM per_s;

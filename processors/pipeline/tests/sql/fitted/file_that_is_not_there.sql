-- refused: 1:43 «'nowhere.json'» nowhere.json: No such file or directory (os error 2); amoskys sql fit writes such a file
INSERT INTO sink SELECT k, CAST(normalise('nowhere.json', 'calls', c) AS BIGINT) AS c FROM per_s;

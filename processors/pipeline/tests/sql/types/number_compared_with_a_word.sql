-- refused: 1:53 «'4xx'» '4xx' is no number, which it is compared with or becomes; compare with a number, or the column as text: CAST(… AS VARCHAR)
INSERT INTO sink SELECT k, n AS c FROM ev WHERE n = '4xx';

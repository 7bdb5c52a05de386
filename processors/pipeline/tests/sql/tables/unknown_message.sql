-- refused: 1:77 «'amoskys.v1.Alrt'» message 'amoskys.v1.Alrt' is not known; did you mean `amoskys.v1.Alert`?
CREATE EXTERNAL TABLE x STORED AS PROTOBUF LOCATION 'mine' OPTIONS (message 'amoskys.v1.Alrt');

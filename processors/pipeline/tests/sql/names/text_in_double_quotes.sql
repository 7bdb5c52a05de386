-- refused: 1:45 «"root"» column `root` is not known; text stands in single quotes: 'root'
CREATE VIEW x AS SELECT t FROM ev WHERE k = "root";

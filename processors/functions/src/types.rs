//! Arrow's types by the names that SQL gives them.

use arrow::datatypes::DataType;

/// As one would write it in a CAST, where it can be written.
pub fn sql_type(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INT",
        DataType::Int64 => "BIGINT",
        DataType::UInt8 => "TINYINT UNSIGNED",
        DataType::UInt16 => "SMALLINT UNSIGNED",
        DataType::UInt32 => "INT UNSIGNED",
        DataType::UInt64 => "BIGINT UNSIGNED",
        DataType::Float16 | DataType::Float32 => "FLOAT",
        DataType::Float64 => "DOUBLE",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "BYTEA",
        DataType::Date32 | DataType::Date64 => "DATE",
        DataType::Timestamp(_, None) => "TIMESTAMP",
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE",
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL",
        DataType::Null => "NULL",
        DataType::List(field) | DataType::LargeList(field) | DataType::ListView(field) => {
            return format!("{}[]", sql_type(field.data_type()));
        }
        DataType::Dictionary(_, value) => return sql_type(value),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| format!("{} {}", field.name(), sql_type(field.data_type())));
            return format!("STRUCT({})", fields.collect::<Vec<_>>().join(", "));
        }
        other => return other.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, TimeUnit};
    use std::sync::Arc;

    #[test]
    fn types_have_the_names_of_sql() {
        let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let window = DataType::Struct(vec![Field::new("start", time, false)].into());
        assert_eq!(sql_type(&window), "STRUCT(start TIMESTAMP)");
        let list = DataType::List(Arc::new(Field::new("item", DataType::Utf8View, true)));
        assert_eq!(sql_type(&list), "VARCHAR[]");
        assert_eq!(sql_type(&DataType::Decimal128(5, 2)), "Decimal128(5, 2)");
    }
}

//! Values on PostgreSQL's wire. What is sent takes the form of the column that it is for.

use std::error::Error;

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::store::database::{Row, Value};

/// Unix seconds of 2000-01-01, from which PostgreSQL counts.
const EPOCH: i64 = 946_684_800;

impl ToSql for Value {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, ty) {
            (Value::Null, _) => return Ok(IsNull::Yes),
            (Value::Integer(number), &Type::INT4) => out.put_i32(i32::try_from(*number)?),
            (Value::Integer(number), &Type::INT8) => out.put_i64(*number),
            (Value::Moment(second), &Type::TIMESTAMP) => {
                let micros = second
                    .checked_sub(EPOCH)
                    .and_then(|seconds| seconds.checked_mul(1_000_000));
                out.put_i64(micros.ok_or("a moment out of PostgreSQL's range")?);
            }
            // The same bytes in text as in binary columns: UTF-8.
            (Value::Text(text), _) if holds_bytes(ty) => out.put_slice(text.as_bytes()),
            (Value::Bytes(bytes), _) if holds_bytes(ty) => out.put_slice(bytes),
            (value, ty) => return Err(format!("{value:?} is not for a column of {ty}").into()),
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        holds_bytes(ty) || matches!(*ty, Type::INT4 | Type::INT8 | Type::TIMESTAMP)
    }

    to_sql_checked!();
}

fn holds_bytes(ty: &Type) -> bool {
    matches!(*ty, Type::VARCHAR | Type::TEXT | Type::BYTEA)
}

/// A row as it came.
pub(super) fn row(row: &tokio_postgres::Row) -> Result<Row, tokio_postgres::Error> {
    let read = |(column, described): (usize, &tokio_postgres::Column)| {
        Ok(match *described.type_() {
            Type::INT4 => row
                .try_get::<_, Option<i32>>(column)?
                .map_or(Value::Null, |number| Value::Integer(number.into())),
            Type::INT8 => row
                .try_get::<_, Option<i64>>(column)?
                .map_or(Value::Null, Value::Integer),
            Type::BYTEA => row
                .try_get::<_, Option<Vec<u8>>>(column)?
                .map_or(Value::Null, Value::Bytes),
            // Whatever is no text is refused by the driver.
            _ => row
                .try_get::<_, Option<String>>(column)?
                .map_or(Value::Null, Value::Text),
        })
    };
    let values = row.columns().iter().enumerate().map(read);
    values.collect::<Result<_, _>>().map(Row)
}

/// A statement with parameters as PostgreSQL writes them: `$1` for `?1`. No statement of ours has a
/// question mark elsewhere.
pub(super) fn dollars(statement: &str) -> String {
    statement.replace('?', "$")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(value: &Value, ty: &Type) -> Option<Vec<u8>> {
        let mut out = BytesMut::new();
        value.to_sql(ty, &mut out).ok()?;
        Some(out.to_vec())
    }

    #[test]
    fn values_take_the_form_of_their_column() {
        let text = Value::from("ab");
        let cases: [(Value, Type, Option<&[u8]>); 11] = [
            (7.into(), Type::INT4, Some(&[0, 0, 0, 7])),
            (7.into(), Type::INT8, Some(&[0, 0, 0, 0, 0, 0, 0, 7])),
            ((-1).into(), Type::INT4, Some(&[255; 4])),
            (i64::MAX.into(), Type::INT4, None),
            (text.clone(), Type::VARCHAR, Some(b"ab")),
            (text.clone(), Type::BYTEA, Some(b"ab")),
            (text, Type::INT4, None),
            (Value::Bytes(vec![0, 255]), Type::BYTEA, Some(&[0, 255])),
            (Value::Moment(EPOCH), Type::TIMESTAMP, Some(&[0; 8])),
            (Value::Moment(i64::MIN), Type::TIMESTAMP, None),
            (Value::Null, Type::TEXT, Some(&[])),
        ];
        for (value, ty, expected) in cases {
            let got = sent(&value, &ty);
            assert_eq!(got.as_deref(), expected, "{value:?} {ty}");
        }
    }

    #[test]
    fn parameters_are_numbered_with_dollars() {
        let statement = "SELECT id FROM users WHERE id = ?1 AND (?2 = '' OR ?12 > ?1)";
        let expected = "SELECT id FROM users WHERE id = $1 AND ($2 = '' OR $12 > $1)";
        assert_eq!(dollars(statement), expected);
    }
}

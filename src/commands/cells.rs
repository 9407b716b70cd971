//! One value of a report table, for people, for JSON, for CSV; and typed access to a row.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use polars::prelude::{AnyValue, DataFrame, Field, TimeUnit};
use serde_json::Value;

/// Longest text in a table, characters.
const WIDEST: usize = 64;

/// A value for people: numbers to six digits, pictures by their size.
pub fn text(value: &AnyValue<'_>) -> String {
    match value {
        AnyValue::Null => String::new(),
        AnyValue::Float32(number) => number_text(f64::from(*number)),
        AnyValue::Float64(number) => number_text(*number),
        AnyValue::Binary(bytes) => size_text(bytes),
        AnyValue::BinaryOwned(bytes) => size_text(bytes),
        AnyValue::List(items) => {
            let shown: Vec<String> = items.iter().take(4).map(|item| text(&item)).collect();
            format!(
                "[{}{}]",
                shown.join(", "),
                if items.len() > 4 { format!(", … {}", items.len()) } else { String::new() }
            )
        }
        other => {
            let text = plain(other);
            // A digest is told apart by its beginning.
            let digest = text.len() == 64 && text.bytes().all(|letter| letter.is_ascii_hexdigit());
            shortened(text, if digest { 12 } else { WIDEST })
        }
    }
}

/// A value as CSV has it: numbers in full, times in ISO 8601, pictures in Base64, nothing for null.
pub fn plain(value: &AnyValue<'_>) -> String {
    match json(value) {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// A value as JSON: times in ISO 8601 (UTC), pictures in Base64; what JSON cannot say (NaN, infinity) is null.
pub fn json(value: &AnyValue<'_>) -> Value {
    match value {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(flag) => Value::Bool(*flag),
        AnyValue::String(text) => Value::String((*text).to_string()),
        AnyValue::StringOwned(text) => Value::String(text.to_string()),
        // By way of its own shortest text: 0.1f32 is 0.1, not 0.10000000149.
        AnyValue::Float32(number) => number.to_string().parse::<f64>().map_or(Value::Null, Value::from),
        AnyValue::Float64(number) => Value::from(*number),
        AnyValue::Binary(bytes) => Value::String(base64(bytes)),
        AnyValue::BinaryOwned(bytes) => Value::String(base64(bytes)),
        AnyValue::List(items) => Value::Array(items.iter().map(|item| json(&item)).collect()),
        AnyValue::Struct(_, _, fields) => object(value, fields),
        AnyValue::StructOwned(parts) => object(value, &parts.1),
        AnyValue::Date(days) => NaiveDate::from_epoch_days(*days).map_or(Value::Null, |date| date.to_string().into()),
        AnyValue::Datetime(count, unit, _) => time(*count, *unit),
        AnyValue::DatetimeOwned(count, unit, _) => time(*count, *unit),
        other => match (other.extract::<i64>(), other.extract::<u64>()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::String(other.to_string()),
        },
    }
}

/// Text in a column of a row; empty where there is none.
pub fn string(rows: &DataFrame, column: &str, row: usize) -> String {
    rows.column(column).and_then(|column| Ok(plain(&column.get(row)?))).unwrap_or_default()
}

/// A number in a column of a row.
pub fn number(rows: &DataFrame, column: &str, row: usize) -> Option<f64> {
    rows.column(column).ok()?.get(row).ok()?.extract::<f64>()
}

/// A truth value in a column of a row; false where there is none.
pub fn flag(rows: &DataFrame, column: &str, row: usize) -> bool {
    matches!(rows.column(column).map(|column| column.get(row)), Ok(Ok(AnyValue::Boolean(true))))
}

/// Bytes in a column of a row.
pub fn bytes(rows: &DataFrame, column: &str, row: usize) -> Option<Vec<u8>> {
    match rows.column(column).ok()?.get(row).ok()? {
        AnyValue::Binary(bytes) => Some(bytes.to_vec()),
        AnyValue::BinaryOwned(bytes) => Some(bytes),
        _ => None,
    }
}

/// A number for people: six significant digits, never more than needed.
pub fn number_text(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    if !(1e-4..1e9).contains(&size) {
        return format!("{number:.3e}");
    }
    let decimals = (5 - size.log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{number:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

/// A p-value for people: two digits say all there is to say.
pub fn p_text(p_value: Option<f64>) -> String {
    match p_value {
        None => "?".into(),
        Some(p_value) if p_value < 0.001 => format!("{p_value:.1e}"),
        Some(p_value) if p_value < 0.1 => format!("{p_value:.3}"),
        Some(p_value) => format!("{p_value:.2}"),
    }
}

/// A struct as a JSON object, in the order of its fields.
fn object(value: &AnyValue<'_>, fields: &[Field]) -> Value {
    let names = fields.iter().map(|field| field.name().to_string());
    Value::Object(names.zip(value._iter_struct_av().map(|part| json(&part))).collect())
}

fn shortened(text: String, widest: usize) -> String {
    if text.chars().count() <= widest {
        return text;
    }
    format!("{}…", text.chars().take(widest - 1).collect::<String>())
}

fn size_text(bytes: &[u8]) -> String {
    let kind = if bytes.starts_with(b"\x89PNG") { "PNG " } else { "" };
    match bytes.len() {
        small if small < 1000 => format!("<{kind}{small} B>"),
        large => format!("<{kind}{} kB>", large.div_ceil(1000)),
    }
}

fn time(count: i64, unit: TimeUnit) -> Value {
    let moment: Option<DateTime<Utc>> = match unit {
        TimeUnit::Nanoseconds => Some(DateTime::from_timestamp_nanos(count)),
        TimeUnit::Microseconds => DateTime::from_timestamp_micros(count),
        TimeUnit::Milliseconds => DateTime::from_timestamp_millis(count),
    };
    moment.map_or(Value::Null, |moment| moment.to_rfc3339_opts(SecondsFormat::AutoSi, true).into())
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let three = (0..3).fold(0u32, |sum, at| sum << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let letter = LETTERS[(three >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() { letter as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_rfc_4648() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn times_are_utc_in_iso_8601() {
        let value = AnyValue::Datetime(1_795_440_000_250_000, TimeUnit::Microseconds, None);
        assert_eq!(json(&value), Value::from("2026-11-23T13:20:00.250Z"));
        assert_eq!(json(&AnyValue::Date(0)), Value::from("1970-01-01"));
    }

    #[test]
    fn numbers_keep_what_matters() {
        let cases =
            [(0.0, "0"), (31.25, "31.25"), (0.000332, "0.000332"), (3.3e-7, "3.300e-7"), (123456.789, "123457")];
        for (number, text) in cases {
            assert_eq!(number_text(number), text);
        }
        assert_eq!(json(&AnyValue::Float32(0.1)), Value::from(0.1));
        assert_eq!(json(&AnyValue::Float64(f64::NAN)), Value::Null);
        assert_eq!(text(&AnyValue::Binary(&[0; 12_345])), "<13 kB>");
    }
}

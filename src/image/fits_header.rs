//! When and how long, from FITS headers.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use fits_well::header::Header;

/// The start of the observation, from the first of `headers` that says it: DATE-OBS (with its time, or with TIME-OBS, UT
/// or UTC), else MJD-OBS. The time scale is taken as UTC.
pub(super) fn observed_at(headers: &[&Header]) -> Option<DateTime<Utc>> {
    headers.iter().find_map(|header| from_date(header).or_else(|| from_mjd(header)))
}

/// EXPTIME, EXPOSURE or EXP_TIME in seconds, from the first of `headers` that has one.
pub(super) fn exposure_s(headers: &[&Header]) -> Option<f64> {
    let keys = ["EXPTIME", "EXPOSURE", "EXP_TIME"];
    let found = |header: &&Header| keys.iter().find_map(|&key| header.get_real(key).ok().flatten());
    headers.iter().find_map(found).filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
}

fn text<'a>(header: &'a Header, key: &str) -> Option<&'a str> {
    header.get_text(key).ok().flatten().map(str::trim)
}

fn from_date(header: &Header) -> Option<DateTime<Utc>> {
    let value = text(header, "DATE-OBS").or_else(|| text(header, "DATE_OBS"))?.trim_end_matches('Z');
    if let Ok(time) = NaiveDateTime::parse_from_str(value, "%Y-%m-%dT%H:%M:%S%.f") {
        return Some(time.and_utc());
    }
    let date = NaiveDate::parse_from_str(value, "%Y-%m-%d").ok().or_else(|| old_date(value))?;
    let clock = ["TIME-OBS", "TIME_OBS", "UT", "UTC"].iter().find_map(|&key| text(header, key));
    let time = clock.and_then(|clock| NaiveTime::parse_from_str(clock, "%H:%M:%S%.f").ok()).unwrap_or_default();
    Some(date.and_time(time).and_utc())
}

/// `DD/MM/YY`, which the standard kept for 1900 to 1999.
fn old_date(value: &str) -> Option<NaiveDate> {
    let mut parts = value.split('/').map(|part| part.trim().parse::<u32>().ok());
    let (day, month, year) = (parts.next()??, parts.next()??, parts.next()??);
    NaiveDate::from_ymd_opt(1900 + i32::try_from(year).ok().filter(|year| *year < 100)?, month, day)
}

fn from_mjd(header: &Header) -> Option<DateTime<Utc>> {
    const MJD_OF_1970: f64 = 40587.0;
    let days = header.get_real("MJD-OBS").ok().flatten().filter(|mjd| mjd.is_finite() && *mjd > 0.0)? - MJD_OF_1970;
    DateTime::from_timestamp_micros((days * 86_400e6).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(cards: &[(&str, &str)]) -> Option<String> {
        let mut header = Header::new();
        for &(key, value) in cards {
            match value.parse::<f64>() {
                Ok(number) => header.set(key, number).unwrap(),
                Err(_) => header.set(key, value).unwrap(),
            };
        }
        observed_at(&[&header]).map(|time| time.to_rfc3339())
    }

    #[test]
    fn the_spellings_of_a_date() {
        let is = |cards: &[(&str, &str)], expected: &str| assert_eq!(observed(cards).as_deref(), Some(expected));
        is(&[("DATE-OBS", "2019-02-03T04:05:06.25")], "2019-02-03T04:05:06.250+00:00");
        is(&[("DATE-OBS", "2019-02-03"), ("TIME-OBS", "04:05:06")], "2019-02-03T04:05:06+00:00");
        is(&[("DATE-OBS", "23/09/87")], "1987-09-23T00:00:00+00:00");
        is(&[("MJD-OBS", "51544.5")], "2000-01-01T12:00:00+00:00");
        assert_eq!(observed(&[("DATE-OBS", "yesterday")]), None);
    }
}

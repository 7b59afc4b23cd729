//! Dates for templates, as Python's `strftime` writes them.

use minijinja::{Error, ErrorKind};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// A time of UTC, in seconds since 1970, under a format.
pub(super) fn strftime(format: &str, seconds: u64) -> Result<String, Error> {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let [year, month, day, of_year] = date(days);
    let (month_name, day_name) = (MONTHS[month as usize - 1], DAYS[(days % 7) as usize]);
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(char) = chars.next() {
        if char != '%' {
            text.push(char);
            continue;
        }
        let code = chars.next().unwrap_or('%');
        text.push_str(&match code {
            'Y' => format!("{year}"),
            'y' => format!("{:02}", year % 100),
            'm' => format!("{month:02}"),
            'd' => format!("{day:02}"),
            'e' => format!("{day:2}"),
            'j' => format!("{of_year:03}"),
            'B' => month_name.into(),
            'b' | 'h' => month_name[..3].into(),
            'A' => day_name.into(),
            'a' => day_name[..3].into(),
            'H' => format!("{hour:02}"),
            'I' => format!("{:02}", (hour + 11) % 12 + 1),
            'M' => format!("{minute:02}"),
            'S' => format!("{second:02}"),
            'p' => if hour < 12 { "AM" } else { "PM" }.into(),
            'F' => format!("{year}-{month:02}-{day:02}"),
            'T' => format!("{hour:02}:{minute:02}:{second:02}"),
            'Z' => "UTC".into(),
            'z' => "+0000".into(),
            '%' => "%".into(),
            other => {
                let detail =
                    format!("strftime_now: expected one of YymdejBbhAaHIMSpFTZz after %, got {other:?}");
                return Err(Error::new(ErrorKind::InvalidOperation, detail));
            }
        });
    }
    Ok(text)
}

/// Year, month, day of the month and day of the year.
fn date(mut days: u64) -> [u64; 4] {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // The calendar repeats after 400 years.
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let of_year = days + 1;
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    [year, month as u64 + 1, days + 1, of_year]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime(format)` gives.
    #[test]
    fn dates_are_pythons() {
        for (seconds, expected) in [
            (0, "Thu Thursday 01 Jan January 1970 70 001 00:00:00 12 AM"),
            (951_782_400, "Tue Tuesday 29 Feb February 2000 00 060 00:00:00 12 AM"),
            (1_732_541_399, "Mon Monday 25 Nov November 2024 24 330 13:29:59 01 PM"),
            (4_107_542_400, "Mon Monday 01 Mar March 2100 00 060 00:00:00 12 AM"),
        ] {
            assert_eq!(strftime("%a %A %d %b %B %Y %y %j %H:%M:%S %I %p", seconds).unwrap(), expected);
        }
        assert_eq!(strftime("100%% %F", 86_400).unwrap(), "100% 1970-01-02");
        assert!(strftime("%q", 0).unwrap_err().to_string().contains("'q'"));
        assert!(strftime("%Y", u64::MAX).is_ok());
    }
}

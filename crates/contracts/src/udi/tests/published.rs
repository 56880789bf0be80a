//! Carriers as the standards, agencies' guides and labels on the market print them.

use super::*;

/// Carriers as the standard, other agencies' guides and labels print them, with the device
/// identifier, lot, serial, date of manufacture and expiry date.
type Read = (
    &'static str,
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
    Option<Date>,
    Option<Date>,
);

fn published() -> Vec<Read> {
    let made = Some(date(2015, 10, 1));
    let long =
        "+A123ABCDEFGHI1234567891/$$420020216LOT123456789012345/SXYZ456789012345678/16D20130202$";
    vec![
        // ANSI/HIBC 2.6: primary alone, in both forms of print.
        ("+A123BJC5D6E71G", "A123BJC5D6E71", None, None, None, None),
        ("*+A123BJC5D6E71G*", "A123BJC5D6E71", None, None, None, None),
        (
            "]C0+A123BJC5D6E71G",
            "A123BJC5D6E71",
            None,
            None,
            None,
            None,
        ),
        (
            "+A123ABCDEFGHI1234567891E",
            "A123ABCDEFGHI1234567891",
            None,
            None,
            None,
            None,
        ),
        ("+J123AQ3451T", "J123AQ3451", None, None, None, None),
        // A check character that is a space, a plus, and a space written as an underscore.
        ("+A123AA40 ", "A123AA40", None, None, None, None),
        ("*+A123AA40_*", "A123AA40", None, None, None, None),
        ("+A123BJCMD6E79+", "A123BJCMD6E79", None, None, None, None),
        // ANSI/HIBC 2.6: with secondary data.
        (
            "+A99912345/$$52001510X33",
            "A99912345",
            Some("10X3"),
            None,
            None,
            Some(date(2020, 1, 15)),
        ),
        (
            "+A99912345/$$52001510X3/16D20111212/S77DEFG457",
            "A99912345",
            Some("10X3"),
            Some("77DEFG45"),
            Some(date(2011, 12, 12)),
            Some(date(2020, 1, 15)),
        ),
        (
            "+A99912345/$10X3/16D20111231/14D202001313",
            "A99912345",
            Some("10X3"),
            None,
            Some(date(2011, 12, 31)),
            Some(date(2020, 1, 31)),
        ),
        (
            "]d1+A99912349/$10X3/16D20111231/14D20200131/Q500Z",
            "A99912349",
            Some("10X3"),
            None,
            Some(date(2011, 12, 31)),
            Some(date(2020, 1, 31)),
        ),
        (
            "+J123AQ3451/$$3231231BC34567/S4012R",
            "J123AQ3451",
            Some("BC34567"),
            Some("4012"),
            None,
            Some(date(2023, 12, 31)),
        ),
        (
            long,
            "A123ABCDEFGHI1234567891",
            Some("LOT123456789012345"),
            Some("XYZ456789012345678"),
            Some(date(2013, 2, 2)),
            Some(date(2020, 2, 2)),
        ),
        // Every form of date, and quantities.
        (
            "+X999123ABC0/$$05191234AB/S5678EDFG/16D20151001A",
            "X999123ABC0",
            Some("1234AB"),
            Some("5678EDFG"),
            made,
            Some(date(2019, 5, 31)),
        ),
        (
            "+X999123ABC0/$$20515191234AB/S5678EDFG/16D20151001I",
            "X999123ABC0",
            Some("1234AB"),
            Some("5678EDFG"),
            made,
            Some(date(2019, 5, 15)),
        ),
        (
            "+X999123ABC0/$$31905151234AB/S5678EDFG/16D20151001J",
            "X999123ABC0",
            Some("1234AB"),
            Some("5678EDFG"),
            made,
            Some(date(2019, 5, 15)),
        ),
        (
            "+X999123ABC0/$$4190515211234AB/S5678EDFG/16D20151001N",
            "X999123ABC0",
            Some("1234AB"),
            Some("5678EDFG"),
            made,
            Some(date(2019, 5, 15)),
        ),
        (
            "+X999123ABC0/$$5191351234AB/S5678EDFG/16D20151001J",
            "X999123ABC0",
            Some("1234AB"),
            Some("5678EDFG"),
            made,
            Some(date(2019, 5, 15)),
        ),
        (
            "+X999123ABC0/$$619135211234AB/S5678EDFG/16D20151001N",
            "X999123ABC0",
            Some("1234AB"),
            Some("5678EDFG"),
            made,
            Some(date(2019, 5, 15)),
        ),
        (
            "+X999123ABC0/$1234AB/S5678EDFG/16D20151001/14D20190515.",
            "X999123ABC0",
            Some("1234AB"),
            Some("5678EDFG"),
            made,
            Some(date(2019, 5, 15)),
        ),
        (
            "+A99912345/$$81210X3/16D20111212/14D20200906/S77DEFG45$",
            "A99912345",
            Some("10X3"),
            Some("77DEFG45"),
            Some(date(2011, 12, 12)),
            Some(date(2020, 9, 6)),
        ),
        (
            "+A99912345/$$81210X3/$$+320090677DEFG45/16D20111212U",
            "A99912345",
            Some("10X3"),
            Some("77DEFG45"),
            Some(date(2011, 12, 12)),
            Some(date(2020, 9, 6)),
        ),
        (
            "+J123AQ3451/25330BC34567/S4012X",
            "J123AQ3451",
            Some("BC34567"),
            Some("4012"),
            None,
            Some(date(2025, 11, 26)),
        ),
        // Symbols of one label, one after the other.
        (
            "+A123BJC5D6E71G+$$52001510X3GD",
            "A123BJC5D6E71",
            Some("10X3"),
            None,
            None,
            Some(date(2020, 1, 15)),
        ),
        (
            "+A123BJC5D6E71G+2001510X3GG",
            "A123BJC5D6E71",
            Some("10X3"),
            None,
            None,
            Some(date(2020, 1, 15)),
        ),
        (
            "+A123BJC5D6E71G+$$+52001510X3GB",
            "A123BJC5D6E71",
            None,
            Some("10X3"),
            None,
            Some(date(2020, 1, 15)),
        ),
        (
            "+A123BJCMD6E79++$$52001510X3+ ",
            "A123BJCMD6E79",
            Some("10X3"),
            None,
            None,
            Some(date(2020, 1, 15)),
        ),
        (
            "+J123AQ3451T+25330BC34567T2+S4012TJ",
            "J123AQ3451",
            Some("BC34567"),
            Some("4012"),
            None,
            Some(date(2025, 11, 26)),
        ),
        // Labels of products on the market.
        (
            "+J014652230580/$$3220909K010025/16D20200311Z",
            "J014652230580",
            Some("K010025"),
            None,
            Some(date(2020, 3, 11)),
            Some(date(2022, 9, 9)),
        ),
        (
            "*+D002606030421/$$323101700056020/16D20201020Z*",
            "D002606030421",
            Some("00056020"),
            None,
            Some(date(2020, 10, 20)),
            Some(date(2023, 10, 17)),
        ),
        // ICCBBA, as HL7 and the FDA print it.
        (
            "=/A9999XYZ100T0944=,000025=A99971312345600=>014032=}013032&,1000000000000XYZ123",
            "=/A9999XYZ100T0944",
            Some("000000000000XYZ123"),
            Some("000025"),
            Some(date(2013, 2, 1)),
            Some(date(2014, 2, 1)),
        ),
        (
            "=+05037=/A9999XYZ100T0474=,000025=A99971312345600=>014032=}013032",
            "=/A9999XYZ100T0474",
            None,
            Some("000025"),
            Some(date(2013, 2, 1)),
            Some(date(2014, 2, 1)),
        ),
        // GS1 goes to its own parser.
        (
            "(01)09504000059118(17)141120(10)7654321D(21)10987654d321",
            "09504000059118",
            Some("7654321D"),
            Some("10987654d321"),
            None,
            Some(date(2014, 11, 20)),
        ),
    ]
}

#[test]
fn published_carriers_are_read() {
    for (carrier, di, lot, serial, made, expires) in published() {
        let expected = Udi {
            di: di.to_owned(),
            lot: lot.map(str::to_owned),
            serial: serial.map(str::to_owned),
            made,
            expires,
        };
        assert_eq!(parse(carrier, 2026), Ok(expected), "{carrier}");
    }
}

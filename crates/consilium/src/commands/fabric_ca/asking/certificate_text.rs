//! A certificate as text, in the form of Fabric CA's client. fabric-ca: github.com/grantae/certinfo

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Result, anyhow};
use x509_parser::extensions::{GeneralName, KeyUsage, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

/// All of it.
pub(super) fn text(der: &[u8]) -> Result<String> {
    let (_, certificate) = X509Certificate::from_der(der)
        .map_err(|error| anyhow!("the certificate cannot be read: {error}"))?;
    let mut out = String::from("Certificate:\n    Data:\n");
    let version = certificate.version().0;
    let serial = certificate.tbs_certificate.serial.clone();
    let public = &certificate.public_key().subject_public_key.data;
    let (bits, curve) = match public.len() {
        97 => (384, "P-384"),
        133 => (521, "P-521"),
        _ => (256, "P-256"),
    };
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        out,
        "        Version: {} ({})\n        Serial Number: {} (0x{})\n    Signature Algorithm: {}\n        \
         Issuer: {}\n        Validity\n            Not Before: {}\n            Not After : {}\n        \
         Subject: {}\n        Subject Public Key Info:\n            Public Key Algorithm: ECDSA\n                \
         Public-Key: ({bits} bit)\n",
        version + 1,
        if version == 0 {
            "0".to_owned()
        } else {
            format!("{version:#x}")
        },
        serial.to_str_radix(10),
        serial.to_str_radix(16),
        signature_algorithm(&certificate),
        name(certificate.issuer()),
        moment(&certificate.validity().not_before),
        moment(&certificate.validity().not_after),
        name(certificate.subject()),
    );
    let coordinates = public.get(1..).unwrap_or_default();
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    for (label, number) in [("X", x), ("Y", y)] {
        let start = number.iter().position(|byte| *byte != 0).unwrap_or(0);
        let _ = write!(out, "                {label}:");
        hex_lines(&mut out, number.get(start..).unwrap_or_default(), 15, 20);
    }
    let _ = writeln!(out, "                Curve: {curve}");
    if !certificate.extensions().is_empty() {
        out.push_str("        X509v3 extensions:\n");
    }
    for extension in certificate.extensions() {
        let Some((title, lines)) = shown(extension.parsed_extension()) else {
            let oid = extension.oid.to_id_string();
            let _ = writeln!(out, "            Unknown extension {oid}");
            continue;
        };
        let critical = if extension.critical { " critical" } else { "" };
        let _ = writeln!(out, "            {title}:{critical}");
        for line in lines {
            let _ = writeln!(out, "                {line}");
        }
    }
    if !certificate.extensions().is_empty() {
        out.push('\n');
    }
    let _ = write!(
        out,
        "    Signature Algorithm: {}",
        signature_algorithm(&certificate)
    );
    hex_lines(&mut out, &certificate.signature_value.data, 18, 9);
    Ok(out)
}

fn hex_lines(out: &mut String, bytes: &[u8], width: usize, indent: usize) {
    for (number, byte) in bytes.iter().enumerate() {
        if number % width == 0 {
            let _ = write!(out, "\n{:indent$}", "");
        }
        let colon = if number + 1 == bytes.len() { "" } else { ":" };
        let _ = write!(out, "{byte:02x}{colon}");
    }
    out.push('\n');
}

fn signature_algorithm(certificate: &X509Certificate<'_>) -> &'static str {
    match certificate
        .signature_algorithm
        .algorithm
        .to_id_string()
        .as_str()
    {
        "1.2.840.10045.4.3.2" => "ECDSA-SHA256",
        "1.2.840.10045.4.3.3" => "ECDSA-SHA384",
        "1.2.840.10045.4.3.4" => "ECDSA-SHA512",
        "1.2.840.113549.1.1.11" => "SHA256-RSA",
        _ => "0",
    }
}

/// `Jan 2 15:04:05 2006 UTC`
fn moment(time: &ASN1Time) -> String {
    let moment = jiff::Timestamp::from_second(time.timestamp()).unwrap_or_default();
    moment.strftime("%b %-d %H:%M:%S %Y UTC").to_string()
}

fn name(of: &X509Name<'_>) -> String {
    let parts = of.iter_attributes().map(|part| {
        let value = part.as_str().unwrap_or_default();
        match part.attr_type().to_id_string().as_str() {
            "2.5.4.3" => format!("CN={value}"),
            "2.5.4.6" => format!("C={value}"),
            "2.5.4.8" => format!("ST={value}"),
            "2.5.4.10" => format!("O={value}"),
            "2.5.4.11" => format!("OU={value}"),
            "1.2.840.113549.1.9.1" => format!("emailAddress={value}"),
            other => format!("UnknownOID={other}"),
        }
    });
    parts.collect::<Vec<_>>().join(",")
}

fn shown(extension: &ParsedExtension<'_>) -> Option<(&'static str, Vec<String>)> {
    let colons = |bytes: &[u8]| {
        let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        digits.join(":")
    };
    Some(match extension {
        ParsedExtension::SubjectKeyIdentifier(id) => {
            ("X509v3 Subject Key Identifier", vec![colons(id.0)])
        }
        ParsedExtension::AuthorityKeyIdentifier(id) => {
            let key = id.key_identifier.as_ref().map_or(&[][..], |id| id.0);
            (
                "X509v3 Authority Key Identifier",
                vec![format!("keyid:{}", colons(key))],
            )
        }
        ParsedExtension::KeyUsage(usage) => ("X509v3 Key Usage", vec![usages(usage)]),
        ParsedExtension::BasicConstraints(constraints) => {
            let ca = if constraints.ca {
                "CA:TRUE"
            } else {
                "CA:FALSE"
            };
            let length = constraints.path_len_constraint;
            let length = length.map_or_else(String::new, |length| format!(", pathlen:{length}"));
            ("X509v3 Basic Constraints", vec![format!("{ca}{length}")])
        }
        ParsedExtension::ExtendedKeyUsage(usage) => {
            let known = [
                (usage.any, "Any Usage"),
                (usage.server_auth, "TLS Web Server Authentication"),
                (usage.client_auth, "TLS Web Client Authentication"),
                (usage.code_signing, "Code Signing"),
                (usage.email_protection, "E-mail Protection"),
                (usage.time_stamping, "Time Stamping"),
                (usage.ocsp_signing, "OCSP Signing"),
            ];
            let given = known.iter().filter(|(is, _)| *is).map(|(_, name)| *name);
            (
                "X509v3 Extended Key Usage",
                vec![given.collect::<Vec<_>>().join(", ")],
            )
        }
        ParsedExtension::SubjectAlternativeName(names) => {
            let of = |label: &str, pick: fn(&GeneralName<'_>) -> Option<String>| {
                let found = names.general_names.iter().filter_map(pick);
                let found: Vec<_> = found.map(|it| format!("{label}:{it}")).collect();
                (!found.is_empty()).then(|| found.join(", "))
            };
            let lines = [
                of("DNS", |name| match name {
                    GeneralName::DNSName(name) => Some((*name).to_owned()),
                    _ => None,
                }),
                of("email", |name| match name {
                    GeneralName::RFC822Name(name) => Some((*name).to_owned()),
                    _ => None,
                }),
                of("IP Address", |name| match name {
                    GeneralName::IPAddress(bytes) => address(bytes),
                    _ => None,
                }),
            ];
            let lines = lines.into_iter().flatten().collect();
            ("X509v3 Subject Alternative Name", lines)
        }
        _ => return None,
    })
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(four).to_string());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(sixteen).to_string())
}

fn usages(usage: &KeyUsage) -> String {
    let known = [
        (usage.digital_signature(), "Digital Signature"),
        (usage.non_repudiation(), "Content Commitment"),
        (usage.key_encipherment(), "Key Encipherment"),
        (usage.data_encipherment(), "Data Encipherment"),
        (usage.key_agreement(), "Key Agreement"),
        (usage.key_cert_sign(), "Certificate Sign"),
        (usage.crl_sign(), "CRL Sign"),
        (usage.encipher_only(), "Encipher Only"),
        (usage.decipher_only(), "Decipher Only"),
    ];
    let given = known.iter().filter(|(is, _)| *is).map(|(_, name)| *name);
    match given.collect::<Vec<_>>() {
        none if none.is_empty() => "None".into(),
        some => some.join(", "),
    }
}

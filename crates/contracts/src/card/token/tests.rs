use proptest::prelude::*;

use super::*;

fn claims() -> Claims {
    Claims {
        sub: "card-1".into(),
        aud: "fac-1".into(),
        iat: 1_000,
        exp: 1_060,
        jti: "n-1".into(),
    }
}

/// A JWS of any header and payload, signed as ES256 by this key.
fn forged(private: &[u8], header: &str, payload: &str) -> String {
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let signature = sign(&key_pair(private).unwrap(), &signed).unwrap();
    format!("{signed}.{signature}")
}

fn malformed(text: &str) -> bool {
    matches!(Token::parse(text), Err(TokenError::Malformed(_)))
}

#[test]
fn a_token_is_good_for_its_audience_and_its_minute() {
    let (private, public) = generate().unwrap();
    let text = issue(&private, &claims()).unwrap();
    assert!(
        text.len() < 500,
        "{} characters are too many for a QR code",
        text.len()
    );
    for (audience, now, expected) in [
        ("fac-1", 1_000, Ok(claims())),
        ("fac-1", 1_059, Ok(claims())),
        ("fac-1", 1_060, Err(TokenError::Time)),
        ("fac-1", 990, Ok(claims())),
        ("fac-1", 989, Err(TokenError::Time)),
        ("fac-1", i64::MAX, Err(TokenError::Time)),
        ("fac-2", 1_000, Err(TokenError::Audience)),
    ] {
        assert_eq!(
            verify_offline(&text, &public, audience, now),
            expected,
            "{audience} {now}"
        );
    }
    let (_, other) = generate().unwrap();
    assert_eq!(
        verify_offline(&text, &other, "fac-1", 1_000),
        Err(TokenError::Signature)
    );
}

#[test]
fn the_example_of_rfc_7515_verifies_under_its_key() {
    // Appendix A.3: not our shape, but ES256 over the same kind of input.
    let key: CardKey = serde_json::from_str(
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
    )
    .unwrap();
    key.check().unwrap();
    let signed = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = URL_SAFE_NO_PAD
        .decode("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q")
        .unwrap();
    key.verify(signed.as_bytes(), &signature).unwrap();
    assert_eq!(
        key.verify(b"changed", &signature),
        Err(TokenError::Signature)
    );
}

#[test]
fn whoever_signs_with_another_algorithm_or_type_is_refused() {
    let (private, public) = generate().unwrap();
    let kid = public.thumbprint();
    let payload = serde_json::to_string(&claims()).unwrap();
    let good = format!(r#"{{"alg":"ES256","typ":"hc-card+jwt","kid":"{kid}"}}"#);
    assert!(
        Token::parse(&forged(&private, &good, &payload))
            .unwrap()
            .verify(&public)
            .is_ok()
    );
    for header in [
        format!(r#"{{"alg":"none","typ":"hc-card+jwt","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"None","typ":"hc-card+jwt","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"HS256","typ":"hc-card+jwt","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"ES384","typ":"hc-card+jwt","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"es256","typ":"hc-card+jwt","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"ES256","typ":"JWT","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"ES256","typ":"hc-content+jws","kid":"{kid}"}}"#),
        format!(
            r#"{{"alg":"ES256","typ":"hc-card+jwt","kid":"{kid}","crit":["b64"],"b64":false}}"#
        ),
        format!(r#"{{"alg":"ES256","typ":"hc-card+jwt","kid":"{kid}","jwk":{{}}}}"#),
        format!(r#"{{"alg":"ES256","alg":"none","typ":"hc-card+jwt","kid":"{kid}"}}"#),
        r#"{"alg":"ES256","typ":"hc-card+jwt"}"#.to_owned(),
        "[]".to_owned(),
        String::new(),
    ] {
        assert!(malformed(&forged(&private, &header, &payload)), "{header}");
    }
    // A key id that is not the key's.
    let other = good.replace(&kid, &generate().unwrap().1.thumbprint());
    let token = Token::parse(&forged(&private, &other, &payload)).unwrap();
    assert_eq!(token.verify(&public), Err(TokenError::Signature));
}

#[test]
fn claims_of_another_shape_are_refused() {
    let (private, public) = generate().unwrap();
    let header = format!(
        r#"{{"alg":"ES256","typ":"hc-card+jwt","kid":"{}"}}"#,
        public.thumbprint()
    );
    for payload in [
        r#"{"sub":"c","aud":"f","iat":0,"exp":61,"jti":"n"}"#,
        r#"{"sub":"c","aud":"f","iat":0,"exp":0,"jti":"n"}"#,
        r#"{"sub":"c","aud":"f","iat":60,"exp":0,"jti":"n"}"#,
        r#"{"sub":"c","aud":"f","iat":-9223372036854775808,"exp":9223372036854775807,"jti":"n"}"#,
        r#"{"sub":"c","aud":"f","iat":0.5,"exp":60,"jti":"n"}"#,
        r#"{"sub":"c","aud":"f","iat":"0","exp":60,"jti":"n"}"#,
        r#"{"sub":"c","aud":["f"],"iat":0,"exp":60,"jti":"n"}"#,
        r#"{"sub":"c","aud":"f","iat":0,"exp":60}"#,
        r#"{"sub":"c","aud":"f","iat":0,"exp":60,"jti":""}"#,
        r#"{"sub":"c","aud":"f","iat":0,"exp":60,"jti":"a b"}"#,
        r#"{"sub":"c","aud":"f","iat":0,"exp":60,"jti":"n","name":"Li"}"#,
        r#"{"sub":"c","sub":"d","aud":"f","iat":0,"exp":60,"jti":"n"}"#,
        "null",
        "",
    ] {
        assert!(malformed(&forged(&private, &header, payload)), "{payload}");
    }
    let long = Claims {
        exp: 1_061,
        ..claims()
    };
    assert!(matches!(
        issue(&private, &long),
        Err(TokenError::Malformed(_))
    ));
}

#[test]
fn garbage_and_long_texts_are_refused() {
    let (private, _) = generate().unwrap();
    let good = issue(&private, &claims()).unwrap();
    let (head, signature) = good.rsplit_once('.').unwrap();
    for text in [
        String::new(),
        "..".into(),
        "a.b.c".into(),
        "é.é.é".into(),
        format!("{good}."),
        format!("{good}="),
        format!("{head}."),
        format!("{head}.{}", &signature[2..]),
        format!("{head}.{signature}{signature}"),
        format!("{}{}", "A".repeat(MAX_TOKEN_CHARS), good),
        head.to_owned(),
    ] {
        assert!(malformed(&text), "{text}");
    }
    assert_eq!(issue(b"no key", &claims()), Err(TokenError::Signing));
}

#[test]
fn a_key_that_is_no_point_is_refused() {
    let (_, good) = generate().unwrap();
    let cases = [
        CardKey {
            kty: "RSA".into(),
            ..good.clone()
        },
        CardKey {
            crv: "P-384".into(),
            ..good.clone()
        },
        CardKey {
            x: good.y.clone(),
            ..good.clone()
        },
        CardKey {
            x: String::new(),
            ..good.clone()
        },
        CardKey {
            y: format!("{}=", good.y),
            ..good.clone()
        },
    ];
    for key in cases {
        assert_eq!(key.check(), Err(TokenError::Key), "{key:?}");
    }
    assert_eq!(CardKey::from_point(&[]), Err(TokenError::Key));
    assert_eq!(CardKey::from_point(&[2; 33]), Err(TokenError::Key));
    assert_eq!(CardKey::from_point(&[4; 65]), Err(TokenError::Key));
}

#[test]
fn detached_content_is_signed_to_the_byte() {
    let (private, public) = generate().unwrap();
    let jws = sign_content(&private, b"content").unwrap();
    assert!(jws.contains(".."));
    assert_eq!(verify_content(&jws, &public, b"content"), Ok(()));
    assert_eq!(
        verify_content(&jws, &public, b"Content"),
        Err(TokenError::Signature)
    );
    let (_, other) = generate().unwrap();
    assert_eq!(
        verify_content(&jws, &other, b"content"),
        Err(TokenError::Signature)
    );
    // Neither passes for the other.
    let token = issue(&private, &claims()).unwrap();
    assert!(matches!(
        verify_content(&token, &public, b""),
        Err(TokenError::Malformed(_))
    ));
    assert!(malformed(&jws));
    let attached = jws.replace("..", ".YQ.");
    assert!(matches!(
        verify_content(&attached, &public, b"a"),
        Err(TokenError::Malformed(_))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics_or_passes(text in "[A-Za-z0-9_.=-]{0,200}") {
        prop_assert!(malformed(&text));
    }

    #[test]
    fn no_changed_character_passes(at: prop::sample::Index, to in "[A-Za-z0-9_-]") {
        let (private, public) = generate().unwrap();
        let mut text = issue(&private, &claims()).unwrap().into_bytes();
        let at = at.index(text.len());
        prop_assume!(text[at] != to.as_bytes()[0]);
        text[at] = to.as_bytes()[0];
        let text = String::from_utf8(text).unwrap();
        prop_assert!(verify_offline(&text, &public, "fac-1", 1_000).is_err());
    }
}

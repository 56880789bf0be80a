//! Price lists. Which one is in force on a day is public, and so are the hashes of its pages; the
//! pages themselves are given to each payer in the pair's collection.

use jiff::civil::Date;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::model::{PriceList, PriceLists, in_force};
use super::pair::Pair;
use super::private::{ChargeLine, PAGE_SHAPE, PriceEntry, PricePage};
use crate::failure::Failure;
use crate::fields::{self, date_of};
use crate::request::{Call, Outcome};
use crate::roles::Part;

const MAX_LISTS: usize = 200;
const MAX_PAGES: usize = 200;
/// Entries of a page.
const MAX_ENTRIES: usize = 500;
/// Parts of a package.
pub(super) const MAX_PARTS: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishPrices {
    version: String,
    from: Date,
    currency: String,
    pages: Vec<String>,
    #[serde(default)]
    org: Option<String>,
}

/// An ISO 4217 code by its form.
pub(super) fn currency(value: &str) -> Result<(), Failure> {
    if value.len() == 3 && value.bytes().all(|b| b.is_ascii_uppercase()) {
        return Ok(());
    }
    Err(Failure::malformed(
        "currency is a code of ISO 4217, three capital letters",
    ))
}

pub(super) fn publish(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(
        &[Part::Provider, Part::Regulator],
        &["billing", "certifier"],
    )?;
    let args: PublishPrices = call.args()?;
    fields::id("version", &args.version)?;
    currency(&args.currency)?;
    fields::count("pages", args.pages.len(), MAX_PAGES)?;
    for page in &args.pages {
        fields::hash("pages", page)?;
    }
    let caller = call.msp().to_owned();
    let by_regulator = call.config()?.plays(&caller, Part::Regulator);
    let role = if by_regulator { "certifier" } else { "billing" };
    call.require_role(&[role])?;
    let org = match (by_regulator, args.org) {
        (true, Some(org)) => org,
        (true, None) => {
            return Err(Failure::malformed(
                "a regulator says in org whose prices it publishes",
            ));
        }
        (false, None) => caller.clone(),
        (false, Some(org)) if org == caller => org,
        (false, Some(_)) => {
            return Err(Failure::forbidden(
                "NOT_PROVIDER",
                "an organization publishes its own prices",
            ));
        }
    };
    if !call.config()?.plays(&org, Part::Provider) {
        return Err(Failure::rule(
            "UNKNOWN_ORG",
            format!("{} is no provider", fields::msp("org", &org).map(|()| org)?),
        ));
    }
    let mut all: PriceLists = call.load("price", &[&org])?.unwrap_or_default();
    if all.lists.iter().any(|list| list.version == args.version) {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("{org} has published prices {}", args.version),
        ));
    }
    if let Some(last) = all.lists.last() {
        // What was in force on a day that is over stays so; a regulator may fill in later days.
        let today = date_of(call.now);
        if args.from <= last.from || (!by_regulator && args.from < today) {
            return Err(Failure::rule(
                "BACKDATED",
                format!(
                    "prices {} are in force from {}: later ones begin after that, and not before today ({today})",
                    last.version, last.from
                ),
            ));
        }
    }
    fields::count("price lists", all.lists.len() + 1, MAX_LISTS)?;
    all.lists.push(PriceList {
        version: args.version.clone(),
        from: args.from,
        currency: args.currency,
        pages: args.pages,
        by: caller,
    });
    call.store("price", &[&org], &all)?;
    Ok(Outcome::changed(&args.version, "InForce").event(
        call,
        "PricesPublished",
        &args.version,
        "InForce",
        &org,
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadPrices {
    payer: String,
    version: String,
    page: u32,
}

pub(super) fn page_key(version: &str, page: u32) -> String {
    format!("price.{version}.{page}")
}

/// Gives a payer one page of the caller's price list, which has to be the published one.
pub(super) fn load(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["billing"])?;
    let args: LoadPrices = call.args()?;
    let page: PricePage = call.needed("page", PAGE_SHAPE)?;
    fields::salt(&page.salt)?;
    fields::count("entries", page.entries.len(), MAX_ENTRIES)?;
    for entry in &page.entries {
        check_entry(entry)?;
    }
    let provider = call.msp().to_owned();
    let pair = pair_of(call, &provider, &args.payer)?;
    let all: PriceLists = call.load("price", &[&provider])?.unwrap_or_default();
    let list = all
        .lists
        .iter()
        .find(|list| list.version == args.version)
        .ok_or_else(|| Failure::not_found(format!("{provider} has no such price list")))?;
    // The bytes as they came: nothing depends on how JSON is written.
    let found = call.stub.transient().get("page").map(Sha256::digest);
    let published = list.pages.get(args.page as usize);
    if found.map(hex::encode).as_ref() != published {
        return Err(Failure::rule(
            "LIST_MISMATCH",
            format!(
                "page {} is not the one that was published for prices {}",
                args.page, args.version
            ),
        ));
    }
    let id = page_key(&args.version, args.page);
    call.write_private(&pair, &id, &page)?;
    Ok(Outcome::changed(&id, "InForce").event(call, "PricesLoaded", &id, "InForce", &args.payer))
}

fn check_entry(entry: &PriceEntry) -> Result<(), Failure> {
    fields::code("system", &entry.system)?;
    fields::code("code", &entry.code)?;
    if entry.price.is_negative() {
        return Err(Failure::rule("AMOUNT", "a price is below zero"));
    }
    if entry.parts.len() > MAX_PARTS || entry.parts.contains(&entry.code) {
        return Err(Failure::malformed(format!(
            "a package has up to {MAX_PARTS} parts and is none of them"
        )));
    }
    entry
        .parts
        .iter()
        .try_for_each(|part| fields::code("parts", part))
}

/// The pair of a provider and a payer that the configuration knows as such.
pub(super) fn pair_of(call: &mut Call<'_>, provider: &str, payer: &str) -> Result<Pair, Failure> {
    fields::msp("payer", payer)?;
    if !call.config()?.plays(payer, Part::Payer) {
        return Err(Failure::rule("UNKNOWN_ORG", format!("{payer} is no payer")));
    }
    Ok(Pair::new(provider, payer))
}

/// The price list of an organization that is in force on a day.
pub(super) fn list_on(
    call: &mut Call<'_>,
    org: &str,
    date: Date,
) -> Result<Option<PriceList>, Failure> {
    let all: PriceLists = call.load("price", &[org])?.unwrap_or_default();
    Ok(in_force(&all.lists, |list| list.from, date).cloned())
}

/// The entry that a charge is made by: of the list in force on its day, at its price. 422 `PRICE`
/// or `CURRENCY` otherwise.
pub(super) fn entry_for(
    call: &mut Call<'_>,
    pair: &Pair,
    line: &ChargeLine,
    currency: &str,
) -> Result<(String, PriceEntry), Failure> {
    let price = |sentence: &str| Failure::rule("PRICE", sentence.to_owned());
    let list = list_on(call, &pair.provider, line.date)?
        .ok_or_else(|| price("no price list was in force on the day of the charge"))?;
    if list.currency != currency {
        return Err(Failure::rule(
            "CURRENCY",
            format!(
                "prices {} are in {}, the episode is in {currency}",
                list.version, list.currency
            ),
        ));
    }
    let page: PricePage = call
        .read_private(pair, &page_key(&list.version, line.page))?
        .ok_or_else(|| {
            price("the payer was not given that page of the price list in force: LoadPrices")
        })?;
    let entry = page
        .entries
        .into_iter()
        .find(|entry| entry.system == line.system && entry.code == line.code)
        .ok_or_else(|| price("the code is not on that page of the price list in force"))?;
    let fits = if entry.up_to {
        line.unit_price <= entry.price
    } else {
        line.unit_price == entry.price
    };
    if fits {
        Ok((list.version, entry))
    } else {
        Err(price(
            "the unit price is not that of the price list in force",
        ))
    }
}

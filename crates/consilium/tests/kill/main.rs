//! `kill -9`, again and again, on a peer's process that pulls blocks from an orderer over TLS and
//! answers calls meanwhile. After each kill its ledger verifies, holds every block that a client saw, and
//! each block has the flags and the commit hash that the plain reference gives it.

mod load;
mod site;

use std::time::{Duration, Instant};

use bytes::Bytes;
use consilium_proto::{
    lifecycle::{ChaincodeEndorsementInfo, ChaincodeValidationInfo, StateData, state_data},
    protos::{ApplicationPolicy, CollectionConfigPackage, application_policy},
};
use consilium_protocol::{
    hash::sha256,
    names::implicit_collection,
    rwset::{CollectionRwSet, KvWrite, KvWriteHash, NsRwSet},
};
use consilium_testkit::{
    Orderer,
    validation::{Chain, Generator},
};
use prost::Message;
use rand::{Rng, SeedableRng, rngs::StdRng};

use load::Load;
use site::{PATIENCE, Site};

const KILLS: u32 = 44;
const TRANSACTIONS: usize = 1500;
/// Keys of the contract `kv` that every block of transactions writes, and no other.
const KEYS: [&str; 3] = ["a", "b", "c"];
const CONTRACT: &str = "kv";

/// What the lifecycle leaves in state when the first organization has approved `CONTRACT` with a
/// package and the channel has committed it.
fn deployment(package_id: &str) -> NsRwSet {
    let stored = |value| {
        let data = StateData {
            r#type: Some(value),
        };
        Bytes::from(data.encode_to_vec())
    };
    let message = |bytes: Vec<u8>| stored(state_data::Type::Bytes(bytes.into()));
    let policy = consilium_msp::dsl::parse("OR('Org1MSP.member')").expect("a policy");
    let policy = ApplicationPolicy {
        r#type: Some(application_policy::Type::SignaturePolicy(policy)),
    };
    let endorsement = ChaincodeEndorsementInfo {
        version: "1".to_owned(),
        endorsement_plugin: "escc".to_owned(),
        init_required: false,
    };
    let validation = ChaincodeValidationInfo {
        validation_plugin: "vscc".to_owned(),
        validation_parameter: policy.encode_to_vec().into(),
    };
    let parameters = [
        ("EndorsementInfo", message(endorsement.encode_to_vec())),
        ("ValidationInfo", message(validation.encode_to_vec())),
        (
            "Collections",
            message(CollectionConfigPackage::default().encode_to_vec()),
        ),
    ];
    let record = |area: &str, name: &str, datatype: &str, fields: &[(&str, Bytes)]| {
        let metadata = consilium_proto::lifecycle::StateMetadata {
            datatype: datatype.to_owned(),
            fields: fields
                .iter()
                .map(|(field, _)| (*field).to_owned())
                .collect(),
        };
        let mut record: Vec<(String, Bytes)> = fields
            .iter()
            .map(|(field, value)| (format!("{area}/fields/{name}/{field}"), value.clone()))
            .collect();
        record.push((
            format!("{area}/metadata/{name}"),
            metadata.encode_to_vec().into(),
        ));
        record
    };
    let mut definition = vec![("Sequence", stored(state_data::Type::Int64(1)))];
    definition.extend(parameters.clone());
    let approved = format!("{CONTRACT}#1");
    let package = [(
        "PackageID",
        stored(state_data::Type::String(package_id.to_owned())),
    )];
    let approval = record("namespaces", &approved, "ChaincodeParameters", &parameters)
        .into_iter()
        .chain(record(
            "chaincode-sources",
            &approved,
            "ChaincodeLocalPackage",
            &package,
        ))
        .map(|(key, value)| KvWriteHash {
            key_hash: Bytes::copy_from_slice(&sha256(key.as_bytes())),
            is_delete: false,
            value_hash: Bytes::copy_from_slice(&sha256(&value)),
            is_purge: false,
        })
        .collect();
    NsRwSet {
        name: "_lifecycle".to_owned(),
        writes: record("namespaces", CONTRACT, "ChaincodeDefinition", &definition)
            .into_iter()
            .map(|(key, value)| KvWrite {
                key,
                is_delete: false,
                value,
            })
            .collect(),
        collections: vec![CollectionRwSet {
            name: implicit_collection("Org1MSP"),
            pvt_rwset_hash: Bytes::copy_from_slice(&sha256(b"nobody has it")),
            hashed_writes: approval,
            ..Default::default()
        }],
        ..Default::default()
    }
}

struct Round {
    /// Blocks that the orderer gives right away, and how many more once the peer has answered.
    before: usize,
    after: usize,
    /// Whether the peer dies while it starts.
    early: bool,
    moment: Duration,
}

impl Round {
    fn random(random: &mut StdRng) -> Self {
        let early = random.random_ratio(1, 4);
        let longest = if early { 400_000 } else { 30_000 };
        Self {
            before: random.random_range(1..5),
            after: random.random_range(1..12),
            early,
            moment: Duration::from_micros(random.random_range(0..longest)),
        }
    }
}

#[test]
fn a_peer_killed_while_it_catches_up_and_answers_goes_on_to_the_same_hashes() {
    let generator = Generator::new();
    let package =
        consilium_chaincode::lifecycle::package_in_process("kv_1", CONTRACT).expect("a good label");
    let package = Bytes::from(package);
    let id = consilium_chaincode::lifecycle::package_id("kv_1", &package);
    let chain = generator.counted_chain(1, TRANSACTIONS, deployment(&id), CONTRACT, &KEYS);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let organization = &generator.people().organizations[0];
    let tls = organization.tls(&[]);
    let orderer = runtime.block_on(Orderer::start_tls(chain.blocks.clone().into(), &tls));
    let site = Site::new(&generator, &orderer.address);
    let load = Load::start(&runtime, organization, &site.address());
    let mut test = Test {
        random: StdRng::seed_from_u64(1),
        blocks: chain.blocks.len(),
        chain: &chain,
        orderer: &orderer,
        site: &site,
        load: &load,
        runtime: &runtime,
        height: 0,
    };
    test.install(&package);
    let (mut progress, mut finished, mut working) = (0, 0, 0);
    let began = Instant::now();
    for kill in 0..KILLS {
        let round = Round::random(&mut test.random);
        let before = test.height;
        working += u32::from(test.run_and_kill(&generator, &round, kill));
        progress += test.height.saturating_sub(before.max(1));
        if test.height as usize == test.blocks + 1 {
            finished += 1;
            test.forget();
        }
    }
    let answered = load.total();
    println!(
        "{KILLS} kills in {:?}, {working} of them while blocks came and calls were answered: {progress} \
         blocks, {finished} whole chains, {answered} answers",
        began.elapsed()
    );
    assert!(working >= KILLS / 2, "only {working} kills under load");
    assert!(progress >= u64::from(KILLS), "only {progress} blocks");
    test.finish(&generator);
}

struct Test<'a> {
    random: StdRng,
    chain: &'a Chain,
    blocks: usize,
    orderer: &'a Orderer,
    site: &'a Site,
    load: &'a Load,
    runtime: &'a tokio::runtime::Runtime,
    /// Of the ledger, after the last kill; 0: there is none.
    height: u64,
}

impl Test<'_> {
    fn install(&self, package: &Bytes) {
        let mut process = self.site.start();
        let admin = self.runtime.block_on(self.site.admin(&mut process));
        let installed = self.runtime.block_on(admin.install(package.clone()));
        installed.expect("installed");
        process.kill();
    }

    /// Starts the peer, lets it catch up and answer for a while, and kills it. Gives whether it did both.
    fn run_and_kill(&mut self, generator: &Generator, round: &Round, kill: u32) -> bool {
        let known = usize::try_from(self.height).expect("a height");
        let last = known.saturating_sub(1);
        self.orderer.release(self.blocks.min(last + round.before));
        self.load.forget();
        let mut process = self.site.start();
        let mut works = false;
        if !round.early {
            if self.height == 0 {
                let admin = self.runtime.block_on(self.site.admin(&mut process));
                let genesis = generator.genesis().encode_to_vec().into();
                self.runtime.block_on(admin.join(genesis)).expect("joined");
            }
            self.wait("an answer", &mut process, |load| load.answered() > 0);
            let all = self.blocks.min(last + round.before + round.after);
            self.orderer.release(all);
            let some = last + round.before + 1;
            let wanted = u64::try_from(all.min(some)).expect("a number");
            self.wait("a new block", &mut process, |load| load.seen() >= wanted);
            works = all > some;
        }
        std::thread::sleep(round.moment);
        process.kill();
        let context = format!("kill {kill}");
        // Asked for before the kill and answered: on the disk.
        let seen = self.load.seen();
        self.height = self.verify(&context);
        assert!(self.height >= known as u64, "{context}: blocks are gone");
        assert!(
            seen < self.height.max(1),
            "{context}: a client saw block {seen}, which is gone"
        );
        if kill.is_multiple_of(8) && self.height > 0 {
            self.site.verify_by_command();
        }
        works
    }

    fn wait(&self, what: &str, process: &mut site::Process, done: impl Fn(&Load) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self.load) {
            process.check();
            self.load.check();
            assert!(
                Instant::now() < deadline,
                "no sign of {what}\n{}",
                self.site.log()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Verifies the ledger as it was left and compares each block with what is expected. Gives the height
    /// that it has once it is opened.
    fn verify(&self, context: &str) -> u64 {
        self.load.check();
        let Some(folder) = self.site.ledger() else {
            return 0;
        };
        let scratch = tempfile::tempdir().expect("a folder");
        let mut check = |block: &consilium_proto::common::Block| self.compare(block);
        let verified = consilium_ledger::verify(&folder, scratch.path(), &mut check, &mut |_| {})
            .unwrap_or_else(|error| panic!("{context}: {error}"));
        let (faults, unchecked) = (&verified.faults, &verified.unchecked);
        assert!(faults.is_empty(), "{context}: {faults:?}");
        assert!(unchecked.is_empty(), "{context}: {unchecked:?}");
        verified.blocks + verified.behind
    }

    fn compare(&self, block: &consilium_proto::common::Block) -> Result<(), String> {
        use consilium_protocol::block;
        let Some(index) = block::number(block).checked_sub(1) else {
            return Ok(());
        };
        let index = usize::try_from(index).map_err(|error| error.to_string())?;
        let expected = self.chain.expected.get(index).ok_or("no such block")?;
        let codes: Vec<u8> = expected.codes.iter().map(|code| *code as u8).collect();
        if block::flags(block) != codes {
            return Err(format!("other flags than {:?}", expected.codes));
        }
        match block::commit_hash(block) {
            Some(hash) if hash[..] == expected.commit_hash => Ok(()),
            _ => Err("another commit hash".to_owned()),
        }
    }

    /// As a peer that has never joined.
    fn forget(&mut self) {
        let folder = self.site.ledger().expect("a ledger");
        std::fs::remove_dir_all(folder).expect("removed");
        self.height = 0;
    }

    /// The rest of the chain without a kill, an orderly end, and everything once more.
    fn finish(&mut self, generator: &Generator) {
        self.orderer.release(self.blocks);
        self.load.forget();
        let mut process = self.site.start();
        if self.height == 0 {
            let admin = self.runtime.block_on(self.site.admin(&mut process));
            let genesis = generator.genesis().encode_to_vec().into();
            self.runtime.block_on(admin.join(genesis)).expect("joined");
        }
        let all = self.blocks as u64;
        self.wait("the last block", &mut process, |load| load.seen() >= all);
        process.terminate();
        assert_eq!(self.verify("at the end"), all + 1);
        self.site.verify_by_command();
    }
}

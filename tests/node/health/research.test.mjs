// Research and consultation, from the view of an investigator, an ethics board, a hospital's data protection
// officer, the card bureau, and two physicians.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { status as grpcStatus } from '@grpc/grpc-js';
import { StatusCode } from '@hyperledger/fabric-gateway';
import { disconnect, eventually } from '../lib/members.mjs';
import { DAY, fresh, now, pseudonym, salt, sha256 } from '../lib/numbers.mjs';
import { Actor, commits } from './lib/actors.mjs';
import { auditor, practitioner, reinstates, suspends } from './lib/registry.mjs';
import { assertNothingLeaks, eventsOf } from './lib/story.mjs';

after(disconnect);

const dpo = new Actor('hospital', 'dpo', { 'hc.pid': fresh('pid') });
const clinicDpo = new Actor('clinic', 'dpo', { 'hc.pid': fresh('pid') });
const records = new Actor('hospital', 'records', { 'hc.pid': fresh('pid') });
const curator = new Actor('research', 'curator', { 'hc.pid': fresh('pid') });
const bureau = new Actor('citizen', 'issuer');
const [dataset, project, count] = [fresh('ds'), fresh('proj'), fresh('count')];
const [early, dar, profit] = [fresh('dar'), fresh('dar'), fresh('dar')];
const policyHash = sha256(fresh('policy'));
const diabetes = 'MONDO:0005148';
let investigator;
let ethics;
let physician;
let specialist;

before(async () => {
    investigator = await practitioner('research', 'investigator');
    ethics = await practitioner('research', 'ethics');
    physician = await practitioner('clinic', 'physician');
    specialist = await practitioner('hospital', 'physician');
});

const listing = (more = {}) => ({
    dataset: {
        id: dataset, schema: 'OMOP:5.4', size: '10-49', policyHash, contributors: ['ClinicMSP'],
        use: {
            permission: 'DUO:0000007',
            diseases: [{ code: diabetes }],
            modifiers: [{ code: 'DUO:0000018' }, { code: 'DUO:0000021' }, { code: 'DUO:0000025', months: 12 }],
        },
        ...more,
    },
});
const proposal = (id, more = {}) => ({
    project: { id, purpose: 'disease', diseases: [diabetes], countries: ['CN'], protocolHash: sha256(fresh('protocol')), ...more },
});
const approval = (id, verdict = 'Approved') => ({ project: id, verdict, docHash: sha256(fresh('vote')), until: now() + 720 * DAY });
const request = (id, more = {}) => ({ dar: id, dataset, project, terms: { months: 6 }, ...more });

test('a dataset is offered for what it may be used for, and found', async () => {
    await investigator.isRefused('research', 'RegisterDataset', listing(), 403, 'WRONG_ROLE');
    await records.isRefused('research', 'RegisterDataset', listing({ use: { permission: 'DUO:0000005' } }), 422, 'UNKNOWN_DUO');
    await records.isRefused('research', 'RegisterDataset', listing({ size: '37' }), 422, 'BAND');
    await records.does('research', 'RegisterDataset', listing());
    const found = await investigator.asks('research', 'FindDatasets', { duo: 'DUO:0000007' });
    assert.ok(found.datasets.includes(dataset));
});

test('nobody approves their own project, and without approval no data', async () => {
    const stranger = new Actor('research', 'investigator', { 'hc.pid': fresh('pid') });
    await stranger.isRefused('research', 'RegisterProject', proposal(project), 403, 'CREDENTIAL');
    await dpo.isRefused('research', 'RegisterProject', proposal(project), 403, 'WRONG_ORG');
    await investigator.does('research', 'RegisterProject', proposal(project));
    const auto = await investigator.does('research', 'RequestData', request(early));
    assert.deepEqual(auto, { id: early, state: 'AutoDenied', decision: 'Denied', code: 'NO_ETHICS' });
    await investigator.isRefused('research', 'DecideEthics', approval(project), 403, 'WRONG_ROLE');
    await ethics.does('research', 'DecideEthics', approval(project));
    await ethics.isRefused('research', 'DecideEthics', approval(project), 409, 'BAD_STATE');
    const commercial = fresh('proj');
    await investigator.does('research', 'RegisterProject', proposal(commercial, { forProfit: true }));
    await ethics.does('research', 'DecideEthics', approval(commercial));
    const denied = await investigator.does('research', 'RequestData', request(profit, { project: commercial }));
    assert.deepEqual([denied.state, denied.code], ['AutoDenied', 'DUO_MISMATCH 0000018']);
    const dry = await dpo.asks('research', 'EvaluateRequest', { dataset, project, terms: { months: 13 } });
    assert.deepEqual([dry.decision, dry.code], ['Denied', 'DUO_MISMATCH 0000025']);
});

test('a count is answered in bands', async () => {
    const question = { countId: count, project, dataset, queryHash: sha256(fresh('query')) };
    const asked = await investigator.does('research', 'Count', question);
    assert.deepEqual([asked.state, asked.code], ['Asked', 'OK']);
    await clinicDpo.isRefused('research', 'AnswerCount', { countId: count, cells: [{ cell: 'F-60', band: '10-49' }] }, 403, 'NOT_CUSTODIAN');
    await dpo.isRefused('research', 'AnswerCount', { countId: count, cells: [{ cell: 'F-60', band: '17' }] }, 422, 'BAND');
    await dpo.does('research', 'AnswerCount', { countId: count, cells: [{ cell: 'F-60', band: '10-49' }] });
    assert.equal((await investigator.asks('research', 'ReadCount', { countId: count })).cells[0].band, '10-49');
});

test('a request is decided by the custodian, and the terms accepted by who asked', async () => {
    const asked = await investigator.does('research', 'RequestData', request(dar));
    assert.deepEqual([asked.state, asked.code], ['Submitted', 'OK']);
    const approve = { dar, verdict: 'Approved' };
    await clinicDpo.isRefused('research', 'DecideRequest', approve, 403, 'NOT_CUSTODIAN');
    await new Actor('hospital', 'dpo').isRefused('research', 'DecideRequest', approve, 403, 'NO_PID');
    // A data protection officer who is the investigator as well decides nothing.
    await new Actor('hospital', 'dpo', { 'hc.pid': investigator.pid }).isRefused('research', 'DecideRequest', approve, 403, 'SELF_APPROVAL');
    await dpo.does('research', 'DecideRequest', approve);
    await investigator.isRefused('research', 'AcceptTerms', { dar, policyHash: sha256('other terms') }, 422, 'TERMS_MISMATCH');
    const accepts = await investigator.endorses('research', 'AcceptTerms', { dar, policyHash });
    await suspends(investigator.credentials.investigator);
    assert.equal(await commits(accepts), StatusCode.MVCC_READ_CONFLICT);
    await investigator.isRefused('research', 'AcceptTerms', { dar, policyHash }, 403, 'CREDENTIAL');
    await reinstates(investigator.credentials.investigator);
    assert.equal((await investigator.does('research', 'AcceptTerms', { dar, policyHash })).state, 'Active');
});

const token = pseudonym();

test('who has left is left out of every export', async () => {
    const use = (kind, more = {}) => ({ grant: dar, kind, inHash: sha256(fresh('in')), outHash: sha256(fresh('out')), ...more });
    await records.isRefused('research', 'RecordUse', use('compute'), 403, 'WRONG_ORG');
    await curator.does('research', 'RecordUse', use('export', { excluded: 0 }));
    // The care pseudonym and that of the dataset would stand in one block.
    const linked = new Actor('citizen', 'patient', { 'hc.sid': pseudonym() });
    await linked.isRefused('research', 'WithdrawSubject', { dataset, token }, 422, 'LINKABLE');
    const late = await curator.endorses('research', 'RecordUse', use('export', { excluded: 0 }));
    const withdrawn = await bureau.does('research', 'WithdrawSubject', { dataset, token });
    assert.equal(withdrawn.releases, 1);
    assert.equal(await commits(late), StatusCode.MVCC_READ_CONFLICT);
    await curator.isRefused('research', 'RecordUse', use('export', { excluded: 0 }), 422, 'EXCLUDE');
    await curator.does('research', 'RecordUse', use('export', { excluded: 1 }));
    assert.deepEqual((await records.asks('research', 'Withdrawals', { dataset })).tokens, [token]);
    await investigator.isNotAnswered('research', 'Withdrawals', { dataset }, 403, 'WRONG_ROLE');
    const log = await dpo.asks('research', 'UseLog', { grant: dar });
    assert.deepEqual(log.uses.map(({ kind }) => kind), ['export', 'export']);
});

test('what came out is credited, and after the end the copies are destroyed', async () => {
    const out = { out: fresh('out'), grant: dar, doi: '10.1234/diabetes.7', hash: sha256(fresh('paper')) };
    await curator.isRefused('research', 'ConfirmDestruction', { grant: dar, proofHash: sha256('proof') }, 409, 'BAD_STATE');
    await investigator.does('research', 'ReportOutput', out);
    for (const org of ['HospitalMSP', 'ClinicMSP']) {
        assert.ok((await auditor.asks('research', 'Credits', { org })).outputs.includes(out.out), org);
    }
    await clinicDpo.isRefused('research', 'RevokeGrant', { grant: dar, reason: 'BREACH' }, 403, 'NOT_CUSTODIAN');
    await dpo.does('research', 'RevokeGrant', { grant: dar, reason: 'BREACH' });
    const use = { grant: dar, kind: 'compute', inHash: sha256('in'), outHash: sha256('out') };
    await curator.isRefused('research', 'RecordUse', use, 422, 'GRANT_EXPIRED');
    await curator.does('research', 'ConfirmDestruction', { grant: dar, proofHash: sha256(fresh('shredded')) });
    assert.equal((await dpo.asks('research', 'ReadGrant', { grant: dar })).state, 'Destroyed');
});

const con = fresh('con');
const question = JSON.stringify({ text: 'A man of 76 with syncope: would you implant?', records: [fresh('rec')], salt: salt() });
const opinion = JSON.stringify({ text: 'Not before the ablation has failed twice.', salt: salt() });

test('a question goes to a colleague elsewhere, who answers it', async () => {
    const asks = { con, to: 'HospitalMSP', specialty: 'CARDIOLOGY', questionHash: sha256(question), expires: now() + 7 * DAY };
    // Question and opinion go to the peers of the two and to nobody else, which the gateway has to be told: the
    // collection of either is not the other's.
    const parties = { at: ['clinic', 'hospital'] };
    const letter = { transient: { question }, ...parties };
    await assert.rejects(physician.endorses('research', 'RequestConsult', asks, { transient: { question } }), {
        code: grpcStatus.FAILED_PRECONDITION,
        message: /not in the distribution policy of the private data collection\(s\): \[_implicit_org_ClinicMSP _implicit_org_HospitalMSP\]/,
    });
    await new Actor('clinic', 'physician').isRefused('research', 'RequestConsult', asks, 403, 'CREDENTIAL', letter);
    await physician.isRefused('research', 'RequestConsult', { ...asks, questionHash: sha256('another') }, 422, 'COMMIT_MISMATCH', letter);
    await physician.isRefused('research', 'RequestConsult', { ...asks, to: 'ClinicMSP' }, 422, 'SELF_CONSULT', letter);
    await physician.does('research', 'RequestConsult', asks, letter);
    const accept = { con, questionHash: sha256(question) };
    await physician.isRefused('research', 'AcceptConsult', accept, 403, 'NOT_ADDRESSEE');
    const thread = await eventually(() => specialist.asks('research', 'ReadThread', { con }));
    assert.equal(thread.question.text, JSON.parse(question).text);
    // The thread opens no record.
    const records = await specialist.asks('research', 'CheckConsultAccess', { con });
    assert.deepEqual([records.records[0].decision, records.records[0].code], ['Denied', 'NOT_FOUND']);
    await specialist.does('research', 'AcceptConsult', accept);
    const answer = { con, opinionHash: sha256(opinion), feeRef: 'charge-7' };
    await suspends(specialist.credentials.physician);
    await specialist.isRefused('research', 'PostOpinion', answer, 403, 'CREDENTIAL', { transient: { opinion }, ...parties });
    await reinstates(specialist.credentials.physician);
    await specialist.does('research', 'PostOpinion', answer, { transient: { opinion }, ...parties });
    assert.equal((await eventually(() => physician.asks('research', 'ReadThread', { con }))).opinion.text, JSON.parse(opinion).text);
    await specialist.isRefused('research', 'CloseConsult', { con, rating: 5 }, 403, 'NOT_REQUESTER');
    await physician.does('research', 'CloseConsult', { con, rating: 5 });
});

test('the letters are at the two parties alone, until each purges its own', async () => {
    await investigator.isNotAnswered('research', 'ReadThread', { con }, 403, 'WRONG_ORG');
    await dpo.isNotAnswered('research', 'ReadThread', { con }, 403, 'WRONG_ROLE');
    for (const org of ['regulator', 'clinic', 'research', 'citizen']) {
        await specialist.isNotAnswered('research', 'ReadThread', { con }, 404, 'PRIVATE_DATA_NOT_HERE', { at: [org] });
    }
    await dpo.does('research', 'ForgetConsult', { con });
    await specialist.isNotAnswered('research', 'ReadThread', { con }, 404, 'PRIVATE_DATA_NOT_HERE');
    assert.equal((await physician.asks('research', 'ReadThread', { con })).opinion.text, JSON.parse(opinion).text);
    const read = await auditor.asks('research', 'ReadConsult', { con });
    assert.deepEqual([read.state, read.consultant, read.questionHash, read.forgotten], ['Closed', specialist.pid, sha256(question), ['HospitalMSP']]);
});

test('everybody is told what happened, and nobody what was written', async () => {
    const events = await eventsOf('research');
    assert.deepEqual(events.map(({ name }) => name), [
        'DatasetListed', 'ProjectRegistered', 'DataRequested', 'EthicsDecided', 'ProjectRegistered', 'EthicsDecided', 'DataRequested',
        'Counted', 'CountAnswered', 'DataRequested', 'RequestDecided', 'GrantActive', 'UseRecorded', 'SubjectWithdrawn', 'UseRecorded',
        'OutputReported', 'GrantRevoked', 'Destroyed', 'ConsultRequested', 'ConsultAccepted', 'OpinionPosted', 'ConsultClosed',
        'ConsultForgotten',
    ]);
    const letters = [question, opinion].map((letter) => JSON.parse(letter));
    const secrets = letters.flatMap(({ text, salt: random }) => [text, random]);
    await assertNothingLeaks([...secrets, ...letters[0].records, 'ablation', 'syncope'], con);
});

// What the page says, in two languages. Terms of contracts (states, codes) stay as the ledger has them.

const WORDS = {
  skip: ['Skip to the content', '跳到正文'],
  language: ['中文', 'English'],
  signIn: ['Sign in', '登录'],
  signOut: ['Sign out', '退出'],
  signInHelp: [
    'Name and private key of an identity that this gateway knows. The key stays on this page; it only signs the request for a token.',
    '本网关已登记身份的名称与私钥。私钥不会离开本页，仅用于签署令牌请求。'],
  name: ['Name', '名称'],
  key: ['Private key (PEM file)', '私钥（PEM 文件）'],
  noKey: ['This file has no private key for P-256 or P-384 in PEM (PKCS #8).', '文件中没有 PEM（PKCS #8）格式的 P-256 或 P-384 私钥。'],
  refused: ['Refused', '被拒绝'],
  failed: ['That did not work', '操作失败'],
  loading: ['Loading …', '加载中…'],
  nothing: ['There is nothing to show.', '没有可显示的内容。'],
  show: ['Show', '查看'],
  pages: ['Pages', '页面'],
  consortium: ['Consortium', '联盟'],
  live: ['Live', '实时'],
  blocks: ['Blocks', '区块'],
  block: ['Block', '区块'],
  transaction: ['Transaction', '交易'],
  contracts: ['Contracts', '合约'],
  device: ['Device', '器械'],
  patient: ['Patient', '患者'],
  claim: ['Claim', '费用'],
  waste: ['Waste', '医废'],
  recalls: ['Recalls', '召回'],
  research: ['Research', '科研'],
  organizations: ['Organizations', '组织'],
  organization: ['Organization', '组织'],
  peers: ['Peers', '对等节点'],
  orderers: ['Orderers', '排序节点'],
  node: ['Node', '节点'],
  height: ['Height', '高度'],
  runs: ['Contracts that it runs', '运行的合约'],
  rootsUntil: ['Roots valid until', '根证书有效期至'],
  daysLeft: ['Days left', '剩余天数'],
  channel: ['Channel', '通道'],
  time: ['Time', '时间'],
  transactions: ['Transactions', '交易数'],
  invalid: ['Invalid', '无效'],
  conflicts: ['Conflicts', '冲突'],
  bytes: ['Bytes', '字节'],
  hash: ['Hash', '哈希'],
  previous: ['Previous hash', '前一哈希'],
  older: ['Older', '更早'],
  perSecond: ['Transactions per second', '每秒交易数'],
  blockSize: ['Transactions per block', '每块交易数'],
  latency: ['Seconds from proposal to block', '提案到出块的秒数'],
  newBlock: ['New block', '新区块'],
  type: ['Type', '类型'],
  creator: ['Signed by', '签名方'],
  contract: ['Contract', '合约'],
  called: ['Function', '函数'],
  validation: ['Validation', '验证'],
  endorsers: ['Endorsed by', '背书方'],
  reads: ['Reads', '读集'],
  writes: ['Writes', '写集'],
  namespace: ['Namespace', '命名空间'],
  version: ['Version', '版本'],
  value: ['Value', '值'],
  deleted: ['deleted', '已删除'],
  event: ['Event', '事件'],
  sequence: ['Sequence', '序号'],
  policy: ['Endorsement policy', '背书策略'],
  collections: ['Collections', '私有集合'],
  di: ['Device identifier (DI)', '产品标识（DI）'],
  lot: ['Lot', '批号'],
  serial: ['Serial number', '序列号'],
  sid: ['Pseudonym (sid)', '假名（sid）'],
  consents: ['Consents', '授权同意'],
  whoRead: ['Who asked for what', '访问记录'],
  episode: ['Episode', '就诊'],
  manifest: ['Manifest or bag', '联单号或袋号'],
  overdue: ['What is late', '逾期事项'],
  recall: ['Recall number', '召回编号'],
  affected: ['Affected units', '受影响器械'],
  application: ['Application', '申请编号'],
  journey: ['Journey', '流转过程'],
  found: ['Found', '查询结果'],
};

let index = (localStorage.getItem('language') ?? navigator.language ?? 'en').startsWith('zh') ? 1 : 0;

/** The text for a word in the current language. */
export const t = (word) => WORDS[word]?.[index] ?? word;

/** The language as HTML names it. */
export const language = () => ['en', 'zh-CN'][index];

/** Takes the other language from now on. */
export function switchLanguage() {
  index = 1 - index;
  localStorage.setItem('language', language());
}

/** Seconds since 1970, or a time of RFC 3339, as people of that language write it. */
export function moment(at) {
  const date = typeof at === 'number' ? new Date(at * 1000) : new Date(at);
  return Number.isNaN(date.getTime()) ? String(at) : date.toLocaleString(language());
}

package codec

// Bits of a message's sysFlag; part of the format on disk. Apache: MessageSysFlag.
const (
	SysCompressed     int32 = 0x1
	SysMultiTags      int32 = 0x2
	SysTransaction    int32 = 0xC // mask of the four below
	SysNotTransaction int32 = 0x0
	SysPrepared       int32 = 0x4
	SysCommit         int32 = 0x8
	SysRollback       int32 = 0xC
	SysBornHostV6     int32 = 0x10
	SysStoreHostV6    int32 = 0x20
	SysNeedUnwrap     int32 = 0x40
	SysInnerBatch     int32 = 0x80
	SysCompressType   int32 = 0x700 // mask of the three below; 0 is zlib too
	SysCompressLZ4    int32 = 0x100
	SysCompressZstd   int32 = 0x200
	SysCompressZlib   int32 = 0x300
)

// Bits of a pull request's sysFlag. Apache: PullSysFlag.
const (
	PullCommitOffset int32 = 0x1
	PullSuspend      int32 = 0x2
	PullSubscription int32 = 0x4
	PullClassFilter  int32 = 0x8
	PullLite         int32 = 0x10
)

// Bits of a topic's sysFlag. Apache: TopicSysFlag.
const (
	TopicUnit    int32 = 0x1
	TopicUnitSub int32 = 0x2
)

// TransactionType returns the transaction bits of a sysFlag: SysNotTransaction, SysPrepared, SysCommit or SysRollback.
func TransactionType(sysFlag int32) int32 { return sysFlag & SysTransaction }

// WithTransactionType returns sysFlag with its transaction bits replaced by t.
func WithTransactionType(sysFlag, t int32) int32 { return sysFlag&^SysTransaction | t }

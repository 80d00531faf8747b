#include "textflag.h"
#include "go_asm.h"

// func prefetch(p unsafe.Pointer, n uintptr)
TEXT ·prefetch(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), SI
	MOVQ n+8(FP), CX
	ADDQ SI, CX
	ANDQ $~63, SI

line:
	CMPQ SI, CX
	JCC  done
	PREFETCHT0 (SI)
	ADDQ $64, SI
	JMP  line

done:
	RET

// func prefetchWrite(p unsafe.Pointer, n uintptr)
TEXT ·prefetchWrite(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), SI
	MOVQ n+8(FP), CX
	ADDQ SI, CX
	ANDQ $~63, SI

line:
	CMPQ SI, CX
	JCC  done
	BYTE $0x0F; BYTE $0x0D; BYTE $0x0E // PREFETCHW (SI)
	ADDQ $64, SI
	JMP  line

done:
	RET

// func prefetchEnd(t *lateTail)
TEXT ·prefetchEnd(SB), NOSPLIT, $0-8
	MOVQ t+0(FP), AX
	CMPB lateTail_staged(AX), $(const_stagedEntries-1)
	JNE  done
	MOVQ lateTail_b(AX), SI
	MOVWQZX lateTail_n(AX), DX
	ADDQ DX, SI
	SUBQ $((const_stagedEntries-1)*const_entryBytes), SI
	BYTE $0x0F; BYTE $0x0D; BYTE $0x0E // PREFETCHW (SI)
	ADDQ $(const_stagedEntries*const_entryBytes-1), SI
	BYTE $0x0F; BYTE $0x0D; BYTE $0x0E // PREFETCHW (SI)

done:
	RET

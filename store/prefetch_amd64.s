#include "textflag.h"

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

// func prefetchEnd(b *[]byte, n uintptr)
TEXT ·prefetchEnd(SB), NOSPLIT, $0-16
	MOVQ b+0(FP), AX
	MOVQ n+8(FP), CX
	MOVQ (AX), SI
	ADDQ 8(AX), SI
	BYTE $0x0F; BYTE $0x0D; BYTE $0x0E // PREFETCHW (SI)
	ADDQ CX, SI
	DECQ SI
	BYTE $0x0F; BYTE $0x0D; BYTE $0x0E // PREFETCHW (SI)
	RET

#include "textflag.h"

// func prefetchWrite(b []byte)
TEXT ·prefetchWrite(SB), NOSPLIT, $0-24
	MOVQ b_base+0(FP), SI
	MOVQ b_len+8(FP), CX
	ADDQ SI, CX

line:
	CMPQ SI, CX
	JGE  done
	BYTE $0x0F; BYTE $0x0D; BYTE $0x0E // PREFETCHW (SI)
	ADDQ $64, SI
	JMP  line

done:
	RET

// func prefetchEnd(b *[]byte, n int)
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

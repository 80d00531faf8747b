#include "textflag.h"

// Each pair is x^(n+32) and x^(n-32) modulo the polynomial, reflected: what carries a lane on by n bits. Twice, for both lanes.
DATA fold1024<>+0(SB)/8, $0x1e88ef372
DATA fold1024<>+8(SB)/8, $0x14a7fe880
DATA fold1024<>+16(SB)/8, $0x1e88ef372
DATA fold1024<>+24(SB)/8, $0x14a7fe880
GLOBL fold1024<>(SB), RODATA|NOPTR, $32

DATA fold256<>+0(SB)/8, $0x0f1da05aa
DATA fold256<>+8(SB)/8, $0x15a546366
DATA fold256<>+16(SB)/8, $0x0f1da05aa
DATA fold256<>+24(SB)/8, $0x15a546366
GLOBL fold256<>(SB), RODATA|NOPTR, $32

DATA fold128<>+0(SB)/8, $0x1751997d0
DATA fold128<>+8(SB)/8, $0x0ccaa009e
GLOBL fold128<>(SB), RODATA|NOPTR, $16

// x^64 modulo the polynomial, reflected.
DATA last<>+0(SB)/8, $0x163cd6124
DATA last<>+8(SB)/8, $0
GLOBL last<>(SB), RODATA|NOPTR, $16

// The polynomial, and x^64 divided by it, reflected.
DATA poly<>+0(SB)/8, $0x1db710641
DATA poly<>+8(SB)/8, $0x1f7011641
GLOBL poly<>(SB), RODATA|NOPTR, $16

// CARRY makes to what from becomes K bits of Y0 later, added to what is there. It takes Y5 and spoils from.
#define CARRY(from, to) \
	VPCLMULQDQ $0x00, Y0, from, Y5; \
	VPCLMULQDQ $0x11, Y0, from, from; \
	VPXOR Y5, to, to; \
	VPXOR from, to, to

// NEXT carries a lane on to the bytes at off(SI).
#define NEXT(lane, off) \
	VPCLMULQDQ $0x00, Y0, lane, Y5; \
	VPCLMULQDQ $0x11, Y0, lane, lane; \
	VPXOR off(SI), Y5, Y5; \
	VPXOR Y5, lane, lane

// func foldWide(p []byte) (crc uint32)
TEXT ·foldWide(SB), NOSPLIT, $0-28
	MOVQ p_base+0(FP), SI
	MOVQ p_len+8(FP), CX

	// The checksum begins as if the first four bytes were inverted.
	VPCMPEQD X6, X6, X6
	VPSRLDQ  $12, X6, X6
	VPXOR    0(SI), Y6, Y1
	VMOVDQU  32(SI), Y2
	VMOVDQU  64(SI), Y3
	VMOVDQU  96(SI), Y4
	ADDQ     $128, SI
	SUBQ     $128, CX
	VMOVDQU  fold1024<>(SB), Y0

blocks:
	CMPQ CX, $128
	JLT  lanes
	NEXT(Y1, 0)
	NEXT(Y2, 32)
	NEXT(Y3, 64)
	NEXT(Y4, 96)
	ADDQ $128, SI
	SUBQ $128, CX
	JMP  blocks

lanes:
	VMOVDQU      fold256<>(SB), Y0
	CARRY(Y1, Y2)
	CARRY(Y2, Y3)
	CARRY(Y3, Y4)
	VEXTRACTI128 $1, Y4, X2
	VMOVDQU      fold128<>(SB), X0
	VPCLMULQDQ   $0x00, X0, X4, X5
	VPCLMULQDQ   $0x11, X0, X4, X4
	VPXOR        X5, X2, X2
	VPXOR        X4, X2, X2

tail:
	CMPQ       CX, $16
	JLT        done
	VPCLMULQDQ $0x00, X0, X2, X5
	VPCLMULQDQ $0x11, X0, X2, X2
	VPXOR      0(SI), X5, X5
	VPXOR      X5, X2, X2
	ADDQ       $16, SI
	SUBQ       $16, CX
	JMP        tail

done: // 128 bits to 96, to 64, and these to the remainder
	VPCLMULQDQ $0x10, X0, X2, X5 // hi of X0, lo of X2
	VPSRLDQ    $8, X2, X2
	VPXOR      X5, X2, X2
	VMOVDQU    last<>(SB), X0
	VPSRLDQ    $4, X2, X5
	VPAND      X6, X2, X2
	VPCLMULQDQ $0x00, X0, X2, X2
	VPXOR      X5, X2, X2
	VMOVDQU    poly<>(SB), X0
	VPAND      X6, X2, X5
	VPCLMULQDQ $0x10, X0, X5, X5
	VPAND      X6, X5, X5
	VPCLMULQDQ $0x00, X0, X5, X5
	VPXOR      X5, X2, X2
	VPEXTRD    $1, X2, AX
	NOTL       AX
	MOVL       AX, crc+24(FP)
	VZEROUPPER
	RET

// func extendedFeatures() (ecx uint32)
TEXT ·extendedFeatures(SB), NOSPLIT, $0-4
	MOVL $7, AX
	XORL CX, CX
	CPUID
	MOVL CX, ecx+0(FP)
	RET

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a disk boots, for a BIOS: its first sector finds the first partition, of an MBR or a GPT of 512-byte sectors, reads
 * the first sector of that, and runs it; that one says so on the serial port. No partition table is in here.
 */
#define LOADED	0x7c00		/* where the BIOS puts the first sector */
#define BUFFER	0x7e00		/* and we put others */
#define ENTRY	(LOADED + 446)	/* of an MBR: its first partition */
#define SERIAL	0x3f8

	.code16
	.globl _start
_start:
	cld
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	movw	$LOADED, %sp
	movl	ENTRY + 8, %eax
	cmpb	$0xee, ENTRY + 4	/* that protects a GPT, whose entries are in sector 2 */
	jne	0f
	movl	$2, %eax
	call	read
	movl	BUFFER + 32, %eax
0:	call	read
	ljmp	$0, $BUFFER

/* Sector %eax of the disk %dl, to the buffer. */
read:	movl	%eax, packet_sector
	movb	$0x42, %ah
	movw	$packet, %si
	int	$0x13
	jc	halt
	ret

halt:	cli
	hlt
	jmp	halt

packet:
	.byte	16, 0
	.word	1, BUFFER, 0
packet_sector:
	.quad	0

	.org	512
	movw	$message, %si
	movw	$SERIAL, %dx
1:	lodsb
	outb	%al, %dx
	testb	%al, %al
	jne	1b
	jmp	halt
message:
	.asciz	"booted from its first partition\n"
	.org	1024

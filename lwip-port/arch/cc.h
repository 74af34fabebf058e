/*
 * Compiler and platform glue of lwIP for the stand-alone WebAssembly build.
 *
 * Owns: byte order, diagnostics, assertions. A failed assertion is a broken invariant of our own:
 * it traps, the host sees a StackFault and closes this network's stack, never the process.
 */
#ifndef PORT_ARCH_CC_H
#define PORT_ARCH_CC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifndef BYTE_ORDER
#define LITTLE_ENDIAN 1234
#define BIG_ENDIAN    4321
#define BYTE_ORDER    LITTLE_ENDIAN
#endif

/* There is nowhere to print to: no imports. Counters and the frame capture tell the story. */
#define LWIP_PLATFORM_DIAG(x)                                                                      \
	do {                                                                                       \
	} while (0)
#define LWIP_PLATFORM_ASSERT(x) __builtin_trap()

#define LWIP_NO_UNISTD_H   1
#define LWIP_NO_INTTYPES_H 1
#define X8_F		   "02x"
#define U16_F		   "u"
#define S16_F		   "d"
#define X16_F		   "x"
#define U32_F		   "u"
#define S32_F		   "d"
#define X32_F		   "x"
#define SZT_F		   "u"

#endif

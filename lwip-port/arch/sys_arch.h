/*
 * NO_SYS: there are no threads, mailboxes or semaphores; every export runs to completion.
 */
#ifndef PORT_ARCH_SYS_ARCH_H
#define PORT_ARCH_SYS_ARCH_H

#endif

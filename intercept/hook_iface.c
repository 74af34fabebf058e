/**
 * hook_iface.c - Interfaces of the view: SIOCGIF* requests
 */
#include "zt.h"

#include <linux/sockios.h>

int zt_ioctl(int fd, const struct zt_token *t, unsigned long request, void *argument)
{
	(void)fd;
	(void)t;
	(void)request;
	(void)argument;
	return -ENOTTY;
}

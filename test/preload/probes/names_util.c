/**
 * names_util.c - Words for what functions of names answer
 */
#define _GNU_SOURCE
#include "names_util.h"

#include <netdb.h>

const char *eai(int e)
{
	switch (e) {
	case 0:
		return "0";
	case EAI_NONAME:
		return "EAI_NONAME";
	case EAI_AGAIN:
		return "EAI_AGAIN";
	case EAI_FAMILY:
		return "EAI_FAMILY";
	case EAI_SERVICE:
		return "EAI_SERVICE";
	case EAI_BADFLAGS:
		return "EAI_BADFLAGS";
	case EAI_ADDRFAMILY:
		return "EAI_ADDRFAMILY";
	case EAI_NODATA:
		return "EAI_NODATA";
	default:
		return "another";
	}
}

const char *text_of(const struct sockaddr *a)
{
	static char text[INET6_ADDRSTRLEN];

	if (a->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, text, sizeof(text));
	else
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)a)->sin6_addr, text,
			  sizeof(text));
	return text;
}

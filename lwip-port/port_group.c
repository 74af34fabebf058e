/*
 * Multicast groups that sockets joined, of both families.
 *
 * lwIP is built without IGMP and MLD: the virtual network learns of groups from the VL2 layer. What
 * remains is to take in packets of joined groups only. The all-hosts groups are always joined.
 */
#include "port.h"

#include <string.h>

static ip_addr_t groups[PORT_GROUPS_MAX];
static u32_t group_count;

static u32_t find(const ip_addr_t *group)
{
	u32_t i = 0;

	while (i < group_count && !ip_addr_eq(&groups[i], group))
		i++;
	return i;
}

int port_group_joined(const ip_addr_t *group)
{
	if (!IP_IS_V6(group) && ip_2_ip4(group)->addr == PP_HTONL(0xe0000001))
		return 1;
	return find(group) < group_count;
}

int32_t PORT_EXPORT(port_group_join)(double now)
{
	ip_addr_t group;

	port_enter(now);
	if (port_from_endpoint(&io.remote, &group) != 0 || !ip_addr_ismulticast(&group))
		return 0;
	if (find(&group) < group_count)
		return 1;
	if (group_count == PORT_GROUPS_MAX)
		return 0;
	ip_addr_copy(groups[group_count], group);
	group_count++;
	return 1;
}

void PORT_EXPORT(port_group_leave)(double now)
{
	ip_addr_t group;
	u32_t i;

	port_enter(now);
	if (port_from_endpoint(&io.remote, &group) != 0)
		return;
	i = find(&group);
	if (i < group_count)
		groups[i] = groups[--group_count];
}

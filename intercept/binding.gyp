# The preload library as a shared object and as an archive for linking. Needs nothing of Node but
# node-gyp itself: both link libc only.
{
  'variables': {
    'intercept_sources': [
      'env.c', 'log.c', 'token.c', 'addr.c', 'memory.c', 'fdtab.c', 'door.c', 'rpc.c', 'process.c', 'fork.c', 'errnomap.c', 'real.c', 'real_names.c',
      'hook_socket.c', 'carrier.c', 'stream.c', 'hook_sockopt.c', 'io.c', 'hook_read.c', 'hook_write.c', 'after_io.c', 'iov_list.c', 'hook_dgram.c', 'dgram_control.c', 'reach.c', 'segment.c', 'hook_fd.c',
      'hook_name.c', 'hook_dns.c', 'hook_iface.c', 'hook_async.c', 'hook_remote.c', 'hook_load.c', 'nss.c',
    ],
    'intercept_flags': [
      '-std=gnu11', '-O2', '-g', '-fPIC', '-fvisibility=hidden', '-U_FORTIFY_SOURCE',
      '-Wall', '-Wextra', '-Wpedantic', '-Wshadow', '-Wconversion', '-Wvla', '-Werror',
    ],
  },
  'targets': [
    {
      'target_name': 'ztintercept_map',
      'type': 'none',
      'actions': [{
        'action_name': 'hooks_map',
        'inputs': ['hooks.list', 'hooks-map.sh'],
        'outputs': ['<(SHARED_INTERMEDIATE_DIR)/hooks.map'],
        'action': ['sh', 'hooks-map.sh', 'hooks.list', '<(SHARED_INTERMEDIATE_DIR)/hooks.map'],
      }],
    },
    {
      'target_name': 'ztintercept',
      'type': 'shared_library',
      'product_prefix': 'lib',
      'product_extension': 'so',
      'dependencies': ['ztintercept_map'],
      'sources': ['<@(intercept_sources)'],
      'defines': ['_GNU_SOURCE'],
      'defines!': ['_LARGEFILE_SOURCE', '_FILE_OFFSET_BITS=64'],
      'cflags': ['<@(intercept_flags)'],
      'cflags!': ['-Wno-unused-parameter', '-fno-omit-frame-pointer', '-O3'],
      'ldflags': [
        '-Wl,--version-script=<(SHARED_INTERMEDIATE_DIR)/hooks.map', '-Wl,-z,defs', '-Wl,-z,now', '-Wl,-Bsymbolic-functions',
        '-Wl,-soname,libztintercept.so',
      ],
      'libraries': ['-ldl', '-lpthread'],
    },
    {
      'target_name': 'ztintercept_archive',
      'type': 'static_library',
      'standalone_static_library': 1,
      'product_prefix': 'lib',
      'product_name': 'ztintercept',
      'sources': ['<@(intercept_sources)'],
      'defines': ['_GNU_SOURCE', 'ZT_STATIC'],
      'defines!': ['_LARGEFILE_SOURCE', '_FILE_OFFSET_BITS=64'],
      'cflags': ['<@(intercept_flags)'],
      'cflags!': ['-Wno-unused-parameter', '-fno-omit-frame-pointer', '-O3'],
    },
    {
      'target_name': 'ztintercept_static_archive',
      'type': 'static_library',
      'standalone_static_library': 1,
      'product_prefix': 'lib',
      'product_name': 'ztintercept-static',
      'sources': ['<@(intercept_sources)'],
      'defines': ['_GNU_SOURCE', 'ZT_STATIC', 'ZT_WRAP'],
      'defines!': ['_LARGEFILE_SOURCE', '_FILE_OFFSET_BITS=64'],
      'cflags': ['<@(intercept_flags)'],
      'cflags!': ['-Wno-unused-parameter', '-fno-omit-frame-pointer', '-O3'],
    },
  ],
}

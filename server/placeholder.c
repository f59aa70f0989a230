int larder_server_placeholder(void);
int larder_server_placeholder(void)
{
    return 0;
}

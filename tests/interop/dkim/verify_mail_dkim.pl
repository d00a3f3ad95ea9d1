#!/usr/bin/perl
# Every signature of every message, by Mail::DKIM: verify_mail_dkim.pl RECORDS FILE...
# Versions that know no Ed25519 call such a signature invalid; this counts it as not judged then.
use strict;
use warnings;
use JSON::PP;
use Mail::DKIM::PublicKey;
use Mail::DKIM::Verifier;

my ($records, @files) = @ARGV;
open my $in, '<', $records or die "$records: $!";
my %value = map { $_->{name} => $_->{value} } @{ decode_json(do { local $/; <$in> }) };
my $knows_ed25519 = eval { require Mail::DKIM::Algorithm::ed25519_sha256; 1 };

{
    no warnings 'redefine';
    *Mail::DKIM::PublicKey::fetch_async = sub {
        my ($class, %of) = @_;
        my $text = $value{"$of{Selector}._domainkey.$of{Domain}"};
        my $key = defined $text ? $class->parse($text) : undef;
        $of{Callbacks}{Success}->($key) if $of{Callbacks}{Success};
        return sub { $key };
    };
}

my ($verified, $unjudged, $failed) = (0, 0, 0);
for my $file (@files) {
    open my $message, '<:raw', $file or die "$file: $!";
    my $verifier = Mail::DKIM::Verifier->new;
    $verifier->PRINT(do { local $/; <$message> });
    $verifier->CLOSE;
    # A message may have come with signatures of others.
    my @signatures = grep { $value{ $_->selector . '._domainkey.' . $_->domain } } $verifier->signatures;
    if (@signatures != keys %value) {
        print "$file: ", scalar @signatures, " signatures found\n";
        $failed++;
    }
    for my $signature (@signatures) {
        if ($signature->result eq 'pass') {
            $verified++;
        } elsif ($signature->algorithm =~ /^ed25519/ && !$knows_ed25519) {
            $unjudged++;
        } else {
            print "$file: ", $signature->algorithm, ': ', $signature->result_detail, "\n";
            $failed++;
        }
    }
}
print "$verified signatures verify; $unjudged are of a kind that this Mail::DKIM does not know\n";
exit($failed || !$verified ? 1 : 0);
